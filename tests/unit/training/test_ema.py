"""The moving average: its formula, what a bad gradient leaves untouched, and the swap, to the bit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from d2plm_megatron.config import EMA, Recipe
from d2plm_megatron.config.sizing import memory, num_parameters
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.engine import Engine, Update

PADDED_ROWS = 128 - 33


def _copy(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def _step_with_nan(engine: Engine, backward: Callable, pack: object) -> Update:
    backward(engine, [pack])
    next(engine.encoder.parameters()).main_grad.view(-1)[0] = torch.nan
    return engine.update(loss=torch.ones(2))


def test_starts_as_a_copy_of_the_weights_in_fp32(engine: Engine) -> None:
    assert _equal(engine.ema.values, engine.masters.weights)
    assert all(value.dtype == torch.float32 for value in engine.ema.values)
    assert not {value.data_ptr() for value in engine.ema.values} & {w.data_ptr() for w in engine.masters.weights}


@pytest.mark.parametrize("options", [EMA(decay=0.5, ramp=False), EMA(decay=0.3, ramp=True)])
def test_follows_the_formula_over_successful_steps_only(
    options: EMA,
    small: Recipe,
    one_process: Processes,
    make_pack: Callable,
    take_step: Callable,
    backward: Callable,
) -> None:
    """average <- d average + (1 - d) weights, d = min(decay, (1 + n) / (10 + n)) with the ramp, n successes so far."""
    engine = Engine(replace(small, ema=options), one_process)
    expected, successes = [weight.double() for weight in engine.masters.weights], 0
    for number in range(8):
        if number in (2, 5):
            assert not _step_with_nan(engine, backward, make_pack([20, 30])).stepped
        else:
            assert take_step(engine, make_pack([20, 30], seed=number)).stepped
            decay = min(options.decay, (1 + successes) / (10 + successes) if options.ramp else 1.0)
            expected = [
                decay * old + (1 - decay) * weight.double()
                for old, weight in zip(expected, engine.masters.weights, strict=True)
            ]
            successes += 1
        assert engine.ema.num_updates == successes
    for value, wanted in zip(engine.ema.values, expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-7)


def test_decay_ramps_up(small: Recipe, one_process: Processes) -> None:
    engine = Engine(replace(small, ema=EMA(decay=0.99, ramp=True)), one_process)
    assert engine.ema.decay() == pytest.approx(1 / 10)
    engine.ema.num_updates = 90
    assert engine.ema.decay() == pytest.approx(91 / 100)
    engine.ema.num_updates = 10_000
    assert engine.ema.decay() == 0.99


def test_gradient_that_is_not_finite_changes_nothing(
    engine: Engine, make_pack: Callable, take_step: Callable, backward: Callable
) -> None:
    take_step(engine, make_pack([20, 30]))
    weights, average = _copy(engine.masters.weights), _copy(engine.ema.values)
    update = _step_with_nan(engine, backward, make_pack([50]))
    assert not update.stepped
    assert update.norm != update.norm  # nan
    assert _equal(weights, engine.masters.weights)
    assert _equal(average, engine.ema.values)
    assert engine.ema.num_updates == 1


@pytest.mark.parametrize("raises", [False, True])
def test_swapping_in_the_average_is_undone_to_the_bit(
    engine: Engine, make_pack: Callable, take_step: Callable, raises: bool
) -> None:
    take_step(engine, make_pack([20, 30]))
    weights, average = _copy(engine.masters.weights), _copy(engine.ema.values)
    computed = _copy(list(engine.encoder.parameters()))

    def body() -> None:
        with engine.ema.swapped_in():
            assert _equal(average, engine.masters.weights)
            assert not _equal(computed, list(engine.encoder.parameters()))
            if raises:
                raise RuntimeError("inside")

    if raises:
        with pytest.raises(RuntimeError, match="inside"):
            body()
    else:
        body()
    assert _equal(weights, engine.masters.weights)
    assert _equal(average, engine.ema.values)
    assert _equal(computed, list(engine.encoder.parameters()))


def test_average_is_what_the_encoder_computes_with(engine: Engine, make_pack: Callable, take_step: Callable) -> None:
    take_step(engine, make_pack([20, 30]))
    average = _copy(engine.ema.values)
    with engine.ema.swapped_in():
        for parameter, value in zip(engine.encoder.parameters(), average, strict=True):
            assert torch.equal(parameter.view(-1), value.to(parameter.dtype))


def test_its_memory_is_what_sizing_says(engine: Engine) -> None:
    """4 bytes to a parameter; in memory the embedding and the output layer have rows for 128 letters."""
    model = engine.recipe.model
    held = sum(value.nbytes for value in engine.ema.values)
    assert held == 4 * (num_parameters(model) + 2 * PADDED_ROWS * model.hidden_size)
    assert held - 4 * 2 * PADDED_ROWS * model.hidden_size == memory(engine.recipe, data_size=1).ema
