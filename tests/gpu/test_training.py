"""Training on a GPU: the numbers of the CPU, in bf16 nearly so, and the same in each run."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.profile_step import host_waits
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Recipe
from d2plm_megatron.model.backend import HAVE_TE
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs.metrics import read_metrics
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs
from d2plm_megatron.training.trainer import Trainer
from tests.golden.curve import golden_losses, losses, recipe, write_proteins

pytestmark = pytest.mark.gpu
EACH_SPEC = pytest.mark.parametrize(
    "kernels",
    ["torch", pytest.param("te", marks=pytest.mark.skipif(not HAVE_TE, reason="needs Transformer Engine"))],
)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Of the data of the golden curve."""
    write_proteins(tmp_path / "proteins")
    return tmp_path / "proteins"


def test_losses_are_those_of_the_cpu(one_process: Processes, prefix: Path) -> None:
    assert one_process.device.type == "cuda"
    assert losses(recipe(prefix), one_process) == pytest.approx(golden_losses(), rel=2e-4)


@EACH_SPEC
def test_loss_in_bf16_is_close(one_process: Processes, prefix: Path, kernels: str) -> None:
    chosen = recipe(prefix, precision="bf16")
    found = losses(replace(chosen, model=replace(chosen.model, backend=kernels)), one_process)
    assert found[0] == pytest.approx(golden_losses()[0], rel=1e-3)
    assert found == pytest.approx(golden_losses(), rel=2e-2)


@EACH_SPEC
def test_a_step_waits_for_the_gpu_once(
    one_process: Processes, make_pack: Callable[..., TokenBatch], prefix: Path, kernels: str
) -> None:
    """tests/unit/training/test_waits.py counts on a stand-in; here torch tells, but for copies it cannot see."""
    chosen = recipe(prefix, precision="bf16")
    chosen = replace(chosen, model=replace(chosen.model, backend=kernels))
    engine, objective = Engine(chosen, one_process), build(chosen.objective)
    packs = [make_pack([100, 156], seed).pinned() for seed in range(2)]
    for step in range(3):  # kernels are looked for, and state is made, in the first two
        with host_waits() as waits:
            engine.prepare(step)
            sums = run_packs(engine.wrapped, objective, packs, one_process.device, seed=0, train=True)
            engine.update(sums.loss, flags=[True, False])
    assert waits.total() == 1, waits


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_runs_are_the_same_to_the_bit(
    deterministic: None, one_process: Processes, prefix: Path, precision: str
) -> None:
    chosen = recipe(prefix, precision=precision)
    assert losses(chosen, one_process) == losses(chosen, one_process)


def test_resumed_run_is_the_same_to_the_bit(
    deterministic: None, one_process: Processes, prefix: Path, tmp_path: Path
) -> None:
    chosen = replace(recipe(prefix, precision="bf16", log_every_steps=1), output=str(tmp_path))
    straight = trained(replace(chosen, name="straight"), 6, one_process)
    trained(replace(chosen, name="resumed"), 3, one_process)
    assert trained(replace(chosen, name="resumed"), 6, one_process) == straight


def trained(chosen: Recipe, num_steps: int, processes: Processes) -> list[float]:
    """Runs the trainer up to a step; the losses of all steps so far."""
    options = replace(chosen.optimizer, decay_steps=6)
    Trainer.of(replace(chosen, optimizer=options, train=replace(chosen.train, max_steps=num_steps)), processes).fit()
    metrics = Path(chosen.output) / chosen.name / "metrics.jsonl"
    return [line["loss"] for line in read_metrics(metrics) if line["kind"] == "train"]


def test_memory_does_not_grow_from_step_to_step(one_process: Processes, prefix: Path) -> None:
    chosen = recipe(prefix, precision="bf16")
    losses(chosen, one_process, num_steps=2)
    short, long = (peak_of(chosen, one_process, num_steps) for num_steps in (3, 10))
    assert long < 1.1 * short


def peak_of(chosen: Recipe, processes: Processes, num_steps: int) -> int:
    """Most bytes at a time, with nothing left of the engine before, which hooks keep alive until it is collected."""
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    losses(chosen, processes, num_steps)
    return torch.cuda.max_memory_allocated()
