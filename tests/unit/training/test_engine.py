"""The learning rate, weight decay and clipping."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from megatron.core import optimizer as megatron_optimizer

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Optimizer, Recipe
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.engine import Engine, learning_rate


def test_learning_rate_warms_up_falls_and_stays() -> None:
    options = Optimizer(lr=1.0, warmup_steps=10, decay_steps=110, min_lr_ratio=0.1)
    rates = [learning_rate(options, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == rates[199] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_learning_rate_reaches_the_floor_at_the_end_by_default() -> None:
    options = Optimizer(lr=1.0, warmup_steps=0, min_lr_ratio=0.2)
    assert learning_rate(options, 100, 100) == pytest.approx(0.2)


def test_learning_rate_falls_along_a_line_as_esm2s_did() -> None:
    """Lin et al. 2023: 2,000 steps to 4e-4, then along a line to a tenth of it at 90% of 500,000 steps."""
    options = Optimizer(lr=4e-4, schedule="linear", warmup_steps=2000, decay_steps=0.9, min_lr_ratio=0.1)
    steps = [0, 1999, 2000, 226_000, 450_000, 499_999]
    expected = [2e-7, 4e-4, 4e-4, 2.2e-4, 4e-5, 4e-5]
    assert [learning_rate(options, step, 500_000) for step in steps] == pytest.approx(expected)
    falls = [learning_rate(options, step, 500_000) for step in range(2000, 450_001, 64_000)]
    assert [one - other for one, other in pairwise(falls)] == pytest.approx([3.6e-4 / 7] * 7)


def test_warm_up_and_decay_as_fractions_follow_the_length_of_the_run() -> None:
    fractions = Optimizer(lr=1.0, warmup_steps=0.1, decay_steps=0.5)
    for max_steps in (20, 1000):
        steps = Optimizer(lr=1.0, warmup_steps=max_steps // 10, decay_steps=max_steps // 2)
        rates = [learning_rate(fractions, step, max_steps) for step in range(max_steps)]
        assert rates == [learning_rate(steps, step, max_steps) for step in range(max_steps)]
    too_short = Optimizer(lr=1.0, warmup_steps=2000, decay_steps=0.9)  # to try a recipe for some steps
    assert [learning_rate(too_short, step, 4) for step in range(4)] == [0.0005, 0.001, 0.0015, 0.002]


def test_weight_decay_spares_norms_and_biases(small: Recipe, one_process: Processes) -> None:
    recipe = replace(small, model=replace(small.model, bias=True, normalization="layernorm", head="esm"))
    engine = Engine(recipe, one_process)
    engine.prepare(0)
    decays = {id(p): group["weight_decay"] for group in engine.optimizer.param_groups for p in group["params"]}
    for name, parameter in engine.encoder.named_parameters():
        assert decays[id(parameter)] == (0.0 if parameter.ndim == 1 else 0.1), name


class FusedAdam(torch.optim.Optimizer):
    """As Transformer Engine's: it makes what state it lacks by the shape of the whole parameter."""

    def __init__(self, params: list, adam_w_mode: bool, **defaults: Any) -> None:
        assert adam_w_mode
        super().__init__(params, defaults)

    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                assert {"exp_avg", "exp_avg_sq"} <= self.state[parameter].keys(), "made by the optimizer itself"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_fused_optimizer_is_given_its_moments(
    small: Recipe,
    one_process: Processes,
    make_pack: Callable[..., TokenBatch],
    take_step: Callable,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    monkeypatch.setattr(megatron_optimizer, "Adam", FusedAdam)
    monkeypatch.setattr(megatron_optimizer, "USING_PYTORCH_OPTIMIZER", False)
    engine = Engine(replace(small, train=replace(small.train, precision=precision)), one_process)
    assert take_step(engine, make_pack([50])).stepped
    for shard in engine.masters.shards:
        state = engine.masters.optimizer.optimizer.state[shard.main_param]
        assert [moment.shape for moment in state.values()] == [shard.main_param.shape] * 2


def test_clipping_bounds_the_step(
    small: Recipe, one_process: Processes, make_pack: Callable[..., TokenBatch], backward: Callable
) -> None:
    recipe = replace(small, optimizer=replace(small.optimizer, clip_norm=1e-3))
    engine = Engine(recipe, one_process)
    backward(engine, [make_pack([50])])
    update = engine.update(loss=torch.ones(2))
    assert update.stepped
    assert update.norm > 1e-3
    clipped = torch.cat([shard.main_param.grad.view(-1) for shard in engine.masters.shards]).norm()
    assert clipped == pytest.approx(1e-3, rel=1e-3)
