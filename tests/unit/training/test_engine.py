"""The learning rate, the step, and what a bad gradient leaves untouched."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Average, Model, Optimizer, Recipe, Train
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.engine import Engine, learning_rate
from d2plm_megatron.training.step import run_packs

RECIPE = Recipe(
    model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
    optimizer=Optimizer(learning_rate=1e-2, warmup_steps=0, weight_decay=0.1),
    average=Average(decay=0.5, ramp=False),
    train=Train(precision="fp32"),
)


@pytest.fixture(params=["fp32", "bf16"])
def engine(request: pytest.FixtureRequest, one_process: Processes) -> Iterator[Engine]:
    yield Engine(replace(RECIPE, train=replace(RECIPE.train, precision=request.param)), one_process)


def _step(engine: Engine, pack: TokenBatch, number: int = 0) -> tuple[bool, float]:
    engine.prepare(number)
    run_packs(engine.wrapped, build(RECIPE.objective), [pack], torch.device("cpu"), seed=0, train=True)
    return engine.update(loss=0.0)


def _copy(engine: Engine) -> list[torch.Tensor]:
    return [weight.clone() for weight in engine.masters.weights]


def _equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_learning_rate_warms_up_falls_and_stays() -> None:
    options = Optimizer(learning_rate=1.0, warmup_steps=10, decay_steps=110, floor_ratio=0.1)
    rates = [learning_rate(options, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == rates[199] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_learning_rate_reaches_the_floor_at_the_end_by_default() -> None:
    options = Optimizer(learning_rate=1.0, warmup_steps=0, floor_ratio=0.2)
    assert learning_rate(options, 100, 100) == pytest.approx(0.2)


def test_weight_decay_spares_norms_and_biases(one_process: Processes) -> None:
    recipe = replace(RECIPE, model=replace(RECIPE.model, bias=True, normalization="layernorm", head="esm"))
    engine = Engine(recipe, one_process)
    engine.prepare(0)
    decays = {id(p): group["weight_decay"] for group in engine.optimizer.param_groups for p in group["params"]}
    for name, parameter in engine.encoder.named_parameters():
        assert decays[id(parameter)] == (0.0 if parameter.ndim == 1 else 0.1), name


def test_average_follows_successful_steps_only(engine: Engine, make_pack: Callable[..., TokenBatch]) -> None:
    start = _copy(engine)
    assert _step(engine, make_pack([20, 30]))[0]
    expected = [0.5 * a + 0.5 * b for a, b in zip(start, engine.masters.weights, strict=True)]
    for value, wanted in zip(engine.average.values, expected, strict=True):
        torch.testing.assert_close(value, wanted)
    assert engine.average.num_updates == 1
    assert all(value.dtype == torch.float32 for value in engine.average.values)


def test_gradient_that_is_not_finite_changes_nothing(engine: Engine, make_pack: Callable[..., TokenBatch]) -> None:
    _step(engine, make_pack([20, 30]))
    weights, average = _copy(engine), [value.clone() for value in engine.average.values]
    engine.prepare(1)
    run_packs(engine.wrapped, build(RECIPE.objective), [make_pack([50])], torch.device("cpu"), seed=0, train=True)
    next(engine.encoder.parameters()).main_grad.view(-1)[0] = torch.nan
    stepped, norm = engine.update(loss=0.0)
    assert not stepped
    assert norm != norm  # nan
    assert _equal(weights, engine.masters.weights)
    assert _equal(average, engine.average.values)
    assert engine.average.num_updates == 1


def test_swapping_in_the_average_is_undone_to_the_bit(engine: Engine, make_pack: Callable[..., TokenBatch]) -> None:
    _step(engine, make_pack([20, 30]))
    weights, average = _copy(engine), [value.clone() for value in engine.average.values]
    computed = [parameter.detach().clone() for parameter in engine.encoder.parameters()]
    with pytest.raises(RuntimeError, match="inside"), engine.average.swapped_in():
        assert _equal(average, engine.masters.weights)
        assert not _equal(computed, list(engine.encoder.parameters()))
        raise RuntimeError("inside")
    assert _equal(weights, engine.masters.weights)
    assert _equal(average, engine.average.values)
    assert _equal(computed, list(engine.encoder.parameters()))


def test_average_is_what_the_encoder_computes_with(engine: Engine, make_pack: Callable[..., TokenBatch]) -> None:
    _step(engine, make_pack([20, 30]))
    average = [value.clone() for value in engine.average.values]
    with engine.average.swapped_in():
        for parameter, value in zip(engine.encoder.parameters(), average, strict=True):
            assert torch.equal(parameter.view(-1), value.to(parameter.dtype))


def test_clipping_bounds_the_step(one_process: Processes, make_pack: Callable[..., TokenBatch]) -> None:
    recipe = replace(RECIPE, optimizer=replace(RECIPE.optimizer, clip_norm=1e-3))
    engine = Engine(recipe, one_process)
    engine.prepare(0)
    run_packs(engine.wrapped, build(recipe.objective), [make_pack([50])], torch.device("cpu"), seed=0, train=True)
    stepped, norm = engine.update(loss=0.0)
    assert stepped
    assert norm > 1e-3
    clipped = torch.cat([shard.stepped.grad.view(-1) for shard in engine.masters.shards]).norm()
    assert clipped == pytest.approx(1e-3, rel=1e-3)


def test_decay_ramps_up(one_process: Processes) -> None:
    engine = Engine(replace(RECIPE, average=Average(decay=0.99, ramp=True)), one_process)
    assert engine.average.decay() == pytest.approx(1 / 10)
    engine.average.num_updates = 90
    assert engine.average.decay() == pytest.approx(91 / 100)
    engine.average.num_updates = 10_000
    assert engine.average.decay() == 0.99
