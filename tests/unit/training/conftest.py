"""A small engine to step by hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import EMA, Model, Optimizer, Recipe, Train
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.engine import Engine, Update
from d2plm_megatron.training.step import Sums, run_packs


@pytest.fixture(scope="session")
def small() -> Recipe:
    return Recipe(
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        optimizer=Optimizer(lr=1e-2, warmup_steps=0, weight_decay=0.1, eps=1e-5),
        ema=EMA(decay=0.5, ramp=False),
        train=Train(precision="fp32"),
    )


@pytest.fixture(params=["fp32", "bf16"])
def engine(request: pytest.FixtureRequest, small: Recipe, one_process: Processes) -> Iterator[Engine]:
    yield Engine(replace(small, train=replace(small.train, precision=request.param)), one_process)


@pytest.fixture(scope="session")
def backward() -> Callable[[Engine, Sequence[TokenBatch]], Sums]:
    """Forward and backward passes of step 0 over some packs, before the optimizer's turn."""

    def run(engine: Engine, packs: Sequence[TokenBatch]) -> Sums:
        engine.prepare(0)
        objective = build(engine.recipe.objective)
        return run_packs(engine.wrapped, objective, packs, torch.device("cpu"), seed=0, train=True).over_ranks()

    return run


@pytest.fixture(scope="session")
def take_step(backward: Callable) -> Callable[[Engine, TokenBatch], Update]:
    """A whole step on one pack."""

    def take(engine: Engine, pack: TokenBatch) -> Update:
        backward(engine, [pack])
        return engine.update(loss=torch.ones(2))

    return take
