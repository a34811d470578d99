"""A run that is stopped and continued is the run that was not stopped: to the bit, and nearly so on another layout."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.distributed.conftest import Run, Train

LAYOUTS = {
    "optimizer": ["parallel.sharding=optimizer"],
    "parameters": ["parallel.sharding=parameters"],
    "tensor": ["parallel.tensor=2"],
    "pipeline": ["parallel.pipeline=2"],
}


def _comparable(run: Run) -> list[dict[str, float]]:
    """The metrics without what a clock says."""
    clocks = {"time", "seconds_per_step", "tokens_per_second", "tflops", "mfu"}
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


@pytest.fixture(scope="module")
def runs(train: Train) -> dict[str, Run]:
    """For every layout 6 steps at once ("_straight"), 3 steps ("_half") and, continuing those, 6 ("_resumed")."""
    jobs = {}
    for layout, options in LAYOUTS.items():
        for precision in ("fp32", "bf16"):
            name, common = f"{layout}_{precision}", [*options, f"train.precision={precision}"]
            jobs[f"{name}_straight"] = common
            jobs[f"{name}_half"] = [*common, f"name={name}_resumed", "train.max_steps=3"]
            jobs[f"{name}_resumed"] = common
    halves = {f"half_{layout}": [*options, "train.max_steps=3"] for layout, options in LAYOUTS.items()}
    return {**train(1, {"alone": []}), **train(2, {**jobs, **halves})}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_resumed_run_is_the_same_to_the_bit(layout: str, precision: str, runs: dict[str, Run]) -> None:
    straight, resumed = runs[f"{layout}_{precision}_straight"], runs[f"{layout}_{precision}_resumed"]
    assert _comparable(resumed) == _comparable(straight)
    expected, found = straight.tensors, resumed.tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_checkpoint_continues_on_any_other_layout(runs: dict[str, Run], train: Train, tmp_path: Path) -> None:
    """From every layout to every other, and from two processes to one and to four."""
    jobs: dict[int, dict[str, list[str]]] = {1: {}, 2: {}, 4: {}}
    for saved in LAYOUTS:
        targets = {(2, loaded): options for loaded, options in LAYOUTS.items()}
        targets |= {(1, "alone"): [], (4, "four"): ["parallel.tensor=2", "parallel.sharding=optimizer"]}
        for (num_processes, loaded), options in targets.items():
            name = f"{saved}_to_{loaded}"
            shutil.copytree(runs[f"half_{saved}"].folder, tmp_path / name)
            jobs[num_processes][name] = [*options, f"output={tmp_path}"]
    for num_processes, some in jobs.items():
        for name, run in train(num_processes, some).items():
            assert run.losses == pytest.approx(runs["alone"].losses, rel=1e-6), name
