"""Tiny training runs of several processes over gloo: each launch of torchrun takes a list of jobs.

To start Python and import Megatron takes several seconds, to train a tiny encoder for ten steps takes less than one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config import EMA, Absorbing, Data, Model, Optimizer, Recipe, Train, Validation
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics

TINY = Recipe(
    model=Model(num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=128),
    objective=Absorbing(),
    data=Data(max_length_residues=80, tokens_per_pack=256, window_proteins=64),
    # Adam divides a gradient by its size plus epsilon: a small epsilon would make steps of what is rounding alone.
    optimizer=Optimizer(lr=2e-3, warmup_steps=2, decay_steps=12, eps=1e-5),
    ema=EMA(decay=0.9),
    train=Train(
        max_steps=10,
        global_batch_tokens=1024,
        smoke_pack_tokens=None,
        precision="fp32",
        log_every_steps=1,
        save_every_steps=100,
    ),
    validation=Validation(every_steps=100, max_proteins=12),
)
DONE = "tiny run done"
"""What the worker prints after each job."""

CLOCKS = {"time", "seconds_per_step", "tokens_per_second", "tflops", "mfu"}
"""Metrics that are another each time."""

LINES_SHOWN = 60
"""Of the processes' output, when they fail."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        folder: of the run.
        num_processes: that share it.
        overrides: of the recipe TINY.
        continues: a checkpoint of an earlier run: this one goes on from there as if that had been killed then.
    """

    folder: str
    num_processes: int
    overrides: tuple[str, ...]
    continues: str | None = None


@dataclass(frozen=True)
class Run:
    """What a finished run left behind."""

    folder: Path

    @property
    def losses(self) -> list[float]:
        """Of every step."""
        return self._of_every_step("loss")

    @property
    def gradient_norms(self) -> list[float]:
        """Of every step, before clipping."""
        return self._of_every_step("gradient_norm")

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the last checkpoint, whole, by name."""
        latest = RunFolder(self.folder).latest()
        assert latest is not None
        return whole_tensors(latest)

    @cached_property
    def initial_weights(self) -> dict[str, torch.Tensor]:
        """The weights before the first step, whole, by name."""
        return whole_tensors(self.folder / "initial")

    @property
    def began_at(self) -> int:
        """Step: 0, or that of the checkpoint that was continued."""
        return int(self.witnessed[0]["began_at"])

    @property
    def ema_bytes(self) -> list[int]:
        """Memory of the moving average, of each process."""
        return [process["ema_bytes"] for process in self.witnessed]

    @property
    def num_buckets(self) -> list[int]:
        """Parts in which the gradients are added up over data-parallel ranks, of each process; 0 under FSDP."""
        return [process["num_buckets"] for process in self.witnessed]

    @cached_property
    def witnessed(self) -> list[dict[str, Any]]:
        """What each process noted; see tiny_worker.train."""
        paths = sorted(self.folder.glob("recorded_*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    @property
    def noisy_packs(self) -> dict[str, list[str]]:
        """By number in the stream, the proteins of every pack that was trained on, in order, with what they became.

        Raises ValueError when two processes that share a pack saw it differently.
        """
        packs: dict[str, list[str]] = {}
        for process in self.witnessed:
            for number, proteins in process["noisy_packs"].items():
                if packs.setdefault(number, proteins) != proteins:
                    raise ValueError(f"{self.folder}: pack {number} is not the same to all of its processes")
        return packs

    def _of_every_step(self, name: str) -> list[float]:
        return [line[name] for line in read_metrics(self.folder / "metrics.jsonl") if line["kind"] == "train"]


def without_clocks(folder: RunFolder) -> list[dict[str, Any]]:
    """The metrics of a run without what a clock says."""
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in read_metrics(folder.metrics)]


def whole_tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Everything in a checkpoint, whole, by group and name."""
    return {
        f"{group}.{name}": values
        for group in index.read(checkpoint)
        for name, values in tensors.load_whole(checkpoint, group).items()
    }


def train(jobs: Sequence[Job], proteins: Path, advance: Callable[[], object] = lambda: None) -> list[Run]:
    """Trains all jobs, with one launch for each number of processes, in the order in which the numbers appear.

    Args:
        jobs: one that continues another comes after it, and so does its number of processes.
        proteins: prefix of the data.
        advance: called after each.

    Raises RuntimeError with the end of the processes' output when one of them fails.
    """
    for num_processes in dict.fromkeys(job.num_processes for job in jobs):
        _launch(num_processes, [job for job in jobs if job.num_processes == num_processes], proteins, advance)
    return [Run(Path(job.folder)) for job in jobs]


def _launch(num_processes: int, jobs: list[Job], proteins: Path, advance: Callable[[], object]) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "D2PLM_TRACEBACK": "1"}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"proteins": str(proteins), "jobs": [asdict(job) for job in jobs]}, file)
        file.flush()
        command = [*torchrun, "-m", "verification.tiny_worker", file.name]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            last = deque[str](maxlen=LINES_SHOWN)
            try:
                for line in process.stdout:
                    last.append(line)
                    if line.strip() == DONE:
                        advance()
            except BaseException:
                process.terminate()  # torchrun then ends its processes
                raise
    if process.returncode:
        raise RuntimeError(f"{num_processes} processes failed:\n{''.join(last)}")
