"""A sweep on this machine: two runs at a time, one that fails stops nobody, and the same command goes on with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import metrics

pytest.importorskip("nemo_run")
SMALL = "model.num_layers=1 model.hidden_size=32 model.ffn_hidden_size=32 model.num_attention_heads=2"
SHORT = "train.max_steps=2 train.global_batch_tokens=1024 validation.every_steps=2 validation.max_proteins=8"
POINTS = ["lr=1e-3_seed=1", "lr=1e-3_seed=2", "lr=4e-3_seed=1", "lr=4e-3_seed=2"]


def d2plm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NEMORUN_HOME": str(folder / "nemo"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "d2plm_megatron", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_sweep_goes_on_where_a_point_failed(tmp_path: Path, write_proteins) -> None:
    data = write_proteins([60] * 40)
    command = ["launch", "absorbing_tiny", "optimizer.lr=1e-3,4e-3", "train.seed=1,2", f"data.train={data}"]
    command += [f"data.validation={data}", "name=mine", "--at-once", "2", *SMALL.split(), *SHORT.split()]
    runs = {point: tmp_path / "runs" / "mine" / point for point in POINTS}
    with RunFolder(runs[POINTS[1]]).locked():
        first = d2plm(tmp_path, *command)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "a sweep of 4 points" in first.stdout and f"train-{POINTS[1]}: exit code 2" in first.stdout
    assert "in use by process" in first.stdout and "Traceback" not in first.stdout + first.stderr
    states = dict.fromkeys(POINTS, "finished, 2 steps") | {POINTS[1]: "running"}  # as something holds its folder
    assert all(f"│ {point} │ {state}" in " ".join(first.stdout.split()) for point, state in states.items())
    [slots] = (tmp_path / "nemo").glob("experiments/mine/*/slots")
    assert sorted(path.name for path in slots.iterdir()) == ["slot-0", "slot-1"]
    logs = {point: (runs[point] / "metrics.jsonl").read_bytes() for point in POINTS if point != POINTS[1]}

    again = d2plm(tmp_path, *command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "a sweep of 4 points, of which 3 are finished" in again.stdout
    assert [metrics(run)[-1]["step"] for run in runs.values()] == [2, 2, 2, 2]
    assert all((runs[point] / "metrics.jsonl").read_bytes() == log for point, log in logs.items())
    assert json.loads((tmp_path / "runs" / "mine" / "sweep.json").read_text())["points"].keys() == set(POINTS)

    done = d2plm(tmp_path, *command)
    assert done.returncode == 0 and "of which 4 are finished" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=1e-3,-1"], "lr=-1, a point of the sweep: optimizer.lr=-1.0: must lie between"),
        (["optimizer.lr=1e-3,1e-3"], "optimizer.lr=1e-3,1e-3: 1e-3 stands there twice"),
        (["train.seed=1,2", "--at-once", "0"], "--at-once"),
        (["--prepare", "nowhere.fasta"], "--prepare nowhere.fasta: no such file"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_written(
    words: list[str], message: str, tmp_path: Path, write_proteins
) -> None:
    done = d2plm(tmp_path, "launch", "absorbing_tiny", f"data.train={write_proteins([60] * 9)}", *words)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists() and not (tmp_path / "nemo").exists()
