"""Training gives the numbers that it gave before: forward, loss, gradients, optimizer, data order and noise at once."""

from pathlib import Path

import pytest

from d2plm_megatron.parallel.processes import Processes
from tests.golden.curve import NUM_STEPS, Curve, losses, recipe, write_proteins


def test_losses_are_those_of_the_golden_curve(one_process: Processes, tmp_path: Path) -> None:
    golden = Curve.read()
    assert write_proteins(tmp_path / "proteins") == golden.proteins, (
        "other data: numpy draws otherwise, or simulate does"
    )
    found = losses(recipe(tmp_path / "proteins"), one_process)
    assert len(found) == NUM_STEPS
    assert found == pytest.approx(golden.losses, rel=2e-4)
