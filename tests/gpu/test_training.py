"""Training on a GPU: the numbers of the CPU, in bf16 nearly so, and the same in each run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.checkpoint.metrics import read_metrics
from d2plm_megatron.config import Recipe
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.trainer import Trainer
from tests.golden.curve import Curve, losses, recipe, write_proteins

pytestmark = pytest.mark.gpu


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Of the data of the golden curve."""
    written = write_proteins(tmp_path / "proteins")
    assert written == Curve.read().proteins, "other data: numpy draws otherwise, or simulate does"
    return tmp_path / "proteins"


def test_losses_are_those_of_the_cpu(one_process: Processes, prefix: Path) -> None:
    assert one_process.device.type == "cuda"
    assert losses(recipe(prefix), one_process) == pytest.approx(Curve.read().losses, rel=2e-4)


def test_loss_in_bf16_is_close(one_process: Processes, prefix: Path) -> None:
    found = losses(recipe(prefix, precision="bf16"), one_process)
    assert found[0] == pytest.approx(Curve.read().losses[0], rel=1e-3)
    assert found == pytest.approx(Curve.read().losses, rel=2e-2)


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
    Trainer(replace(chosen, optimizer=options, train=replace(chosen.train, max_steps=num_steps)), processes).fit()
    metrics = Path(chosen.output) / chosen.name / "metrics.jsonl"
    return [line["loss"] for line in read_metrics(metrics) if line["kind"] == "train"]


def test_memory_does_not_grow_from_step_to_step(one_process: Processes, prefix: Path) -> None:
    chosen = recipe(prefix, precision="bf16")
    losses(chosen, one_process, num_steps=2)
    torch.cuda.reset_peak_memory_stats()
    losses(chosen, one_process, num_steps=3)
    short = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    losses(chosen, one_process, num_steps=10)
    assert torch.cuda.max_memory_allocated() < 1.1 * short
