"""Training gives the numbers that it gave before: forward, loss, gradients, optimizer, data order and noise at once."""

from pathlib import Path

import pytest

from d2plm_megatron.parallel.processes import Processes
from tests.golden.curve import NUM_STEPS, golden_losses, losses, recipe, write_proteins


def test_losses_are_those_of_the_golden_curve(one_process: Processes, tmp_path: Path) -> None:
    write_proteins(tmp_path / "proteins")
    found = losses(recipe(tmp_path / "proteins"), one_process)
    assert len(found) == NUM_STEPS
    assert found == pytest.approx(golden_losses(), rel=2e-4)
