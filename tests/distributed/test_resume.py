"""A run that is stopped and continued is the run that was not stopped: to the bit, and nearly so on another layout."""

import json

import pytest
import torch

from benchmarks.tiny_runs import Run
from tests.distributed.wanted import HARDEST, MOVED, RESUMED, name

pytestmark = pytest.mark.timeout(1800)  # the first test waits for all runs


def _comparable(run: Run) -> list[dict[str, float]]:
    """The metrics without what a clock says."""
    clocks = {"time", "seconds_per_step", "tokens_per_second", "tflops", "mfu"}
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


@pytest.mark.parametrize(("objective", "layout", "precision"), RESUMED, ids=lambda part: part)
def test_resumed_run_is_the_same_to_the_bit(objective: str, layout: str, precision: str, runs: dict[str, Run]) -> None:
    """Metrics of every step and evaluation; weights, average and moments after 20 steps, or 7 and 13."""
    of_cell = name(objective, layout, precision)
    straight, resumed = runs[f"{of_cell}/straight"], runs[f"{of_cell}/resumed"]
    assert resumed.began_at == 7
    assert len(straight.losses) == 20
    assert _comparable(resumed) == _comparable(straight)
    expected, found = straight.tensors, resumed.tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("saved", "loaded"), MOVED, ids=lambda part: part)
def test_checkpoint_continues_on_any_other_layout(saved: str, loaded: str, runs: dict[str, Run]) -> None:
    """From every layout to every other, and from two processes to one and to four."""
    straight = runs[f"{name(HARDEST, saved, 'fp32')}/straight"]
    continued = runs[f"{saved} to {loaded}"]
    assert continued.began_at == 7
    assert len(continued.losses) == 10
    assert continued.losses == pytest.approx(straight.losses[:10], rel=1e-6)
