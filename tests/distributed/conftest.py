"""Runs of several processes over gloo, each launch taking a list of jobs, as starting Python is most of the time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from megatron.core import dist_checkpointing

from d2plm_megatron import alphabet
from d2plm_megatron.checkpoint.folder import RunFolder
from d2plm_megatron.data.indexed import IndexedWriter
from d2plm_megatron.parallel.processes import joined
from d2plm_megatron.training.report import read_metrics

WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Run:
    """What a finished run left behind."""

    folder: Path

    @property
    def losses(self) -> list[float]:
        """Of every step."""
        return [line["loss"] for line in read_metrics(self.folder / "metrics.jsonl") if line["kind"] == "train"]

    @property
    def gradient_norms(self) -> list[float]:
        """Of every step."""
        return [
            line["gradient_norm"] for line in read_metrics(self.folder / "metrics.jsonl") if line["kind"] == "train"
        ]

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the last checkpoint, whole, by name."""
        latest = RunFolder(self.folder).latest()
        assert latest is not None
        with joined():
            return dist_checkpointing.load_plain_tensors(str(latest))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of 200 random proteins of 10 to 90 residues."""
    prefix = tmp_path_factory.mktemp("data") / "proteins"
    generator = np.random.default_rng(0)
    with IndexedWriter(prefix) as writer:
        for length in generator.integers(10, 90, 200):
            writer.add(generator.integers(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, length).astype(np.uint8))
    return prefix


Train = Callable[[int, dict[str, list[str]]], dict[str, Run]]


@pytest.fixture(scope="session")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains tiny runs: train(num_processes, {name: overrides}) starts the processes once for all of them."""

    def launch(num_processes: int, jobs: dict[str, list[str]]) -> dict[str, Run]:
        folder = tmp_path_factory.mktemp("runs")
        common = [f"data.train={data}", f"data.validation={data}"]
        specified = {name: [*common, f"output={folder}", f"name={name}", *job] for name, job in jobs.items()}
        launch_worker(num_processes, specified)
        return {name: Run(Path(_last(job, "output")) / _last(job, "name")) for name, job in specified.items()}

    return launch


def _last(overrides: list[str], key: str) -> str:
    return next(o.split("=", 1)[1] for o in reversed(overrides) if o.startswith(key + "="))


def launch_worker(num_processes: int, jobs: dict[str, list[str]]) -> None:
    """Fails the test with the processes' output when one of them fails."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "D2PLM_TRACEBACK": "1"}
    done = subprocess.run(
        [*command, str(WORKER), json.dumps(jobs)], env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
