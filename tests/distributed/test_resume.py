"""A run that is stopped and continued is the run that was not stopped: to the bit, and nearly so on another layout."""

import pytest
import torch

from d2plm_megatron.runs.folder import RunFolder
from tests.distributed.wanted import HARDEST, MOVED, RESUMED, SAVED, name
from verification.tiny_runs import Run, without_clocks

pytestmark = pytest.mark.timeout(1800)  # the first test waits for all runs


@pytest.mark.parametrize(("objective", "layout", "precision"), RESUMED, ids=lambda part: part)
def test_resumed_run_is_the_same_to_the_bit(objective: str, layout: str, precision: str, runs: dict[str, Run]) -> None:
    """Metrics of every step and evaluation; weights, average and moments after 20 steps, or 7 and 13."""
    of_cell = name(objective, layout, precision)
    straight, resumed = runs[f"{of_cell}/straight"], runs[f"{of_cell}/resumed"]
    assert resumed.began_at == 7
    assert len(straight.losses) == 20
    assert without_clocks(RunFolder(resumed.folder)) == without_clocks(RunFolder(straight.folder))
    expected, found = straight.tensors, resumed.tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_layout_evaluates_the_same_average(runs: dict[str, Run]) -> None:
    """It is swapped in and out between steps, where weights may still be on their way to other ranks."""
    found = [validations(runs[f"{name(HARDEST, layout, 'fp32')}/straight"]) for layout in SAVED]
    assert len(found[0]) == 4
    for others in found[1:]:
        assert others == [pytest.approx(values, rel=1e-6) for values in found[0]]


def validations(run: Run) -> list[dict[str, float]]:
    """What each evaluation measured."""
    lines = [line for line in without_clocks(RunFolder(run.folder)) if line["kind"] == "validation"]
    return [{key: value for key, value in line.items() if isinstance(value, float)} for line in lines]


@pytest.mark.parametrize(("objective", "saved", "loaded"), MOVED, ids=lambda part: part)
def test_checkpoint_continues_on_any_other_layout(
    objective: str, saved: str, loaded: str, runs: dict[str, Run]
) -> None:
    """From every layout to every other, and from two processes to one and to four."""
    straight = runs[f"{name(objective, saved, 'fp32')}/straight"]
    continued = runs[f"{objective}, {saved} to {loaded}"]
    assert continued.began_at == 7
    assert len(continued.losses) == 10
    assert continued.losses == pytest.approx(straight.losses[:10], rel=1e-6)
