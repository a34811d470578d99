"""The folder of a run, and which of its checkpoints is taken.

RUN/recipe.yaml                      what the run is, all overrides applied
RUN/metrics.jsonl                    a line per progress report and per evaluation
RUN/curve.png
RUN/wandb.json, wandb/, tensorboard/ what trackers keep; see tracking/
RUN/profile/                         traces of steps; see training/profiler.py
RUN/evaluation.json, evaluation.png  of a checkpoint; see evaluation/outputs.py
RUN/samples.fasta                    proteins that a checkpoint generated; see generation/generate.py
RUN/judge.json, *.judge.json         how good such proteins are; see evaluation/judge.py
RUN/comparison.json                  of models; see evaluation/compare.py
RUN/*.csv, */summary.csv             heat maps and scores of mutants; see scoring/mutations.py
RUN/report.html                      all of these on a page; see report/
RUN/.lock                            held by the run that writes here
RUN/checkpoints/latest               name of the newest complete checkpoint
RUN/checkpoints/best                 name of the one with the lowest validation loss
RUN/checkpoints/step_00001000/       see checkpoint.py
"""

import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from d2plm_megatron.console import note
from d2plm_megatron.files import remove, sync
from d2plm_megatron.runs import integrity

_POINTER = {"checkpoint": str}
_CHECKPOINT = re.compile(r"step_\d{8,}")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The log, a JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def evaluation(self) -> Path:
        """Where an evaluation goes, and the report looks for it."""
        return self.path / "evaluation.json"

    @property
    def evaluation_picture(self) -> Path:
        """Where its picture goes."""
        return self.evaluation.with_suffix(".png")

    @property
    def samples(self) -> Path:
        """Where generated proteins go, and the report looks for them."""
        return self.path / "samples.fasta"

    def results(self) -> list[Path]:
        """What may be judgements, comparisons, and tables of mutants; the report tells by what is in them."""
        patterns = ("judge.json", "*.judge.json", "*comparison*.json", "*.csv", "*/summary.csv")
        return [path for pattern in patterns for path in sorted(self.path.glob(pattern)) if path.is_file()]

    def incomplete(self, step: int) -> Path:
        """Where the checkpoint of a step is written."""
        return self.checkpoints / f".{_name(step)}.incomplete"

    def own_files(self) -> list[Path]:
        """What only training writes into this run, or into that of this checkpoint; no command may replace it."""
        run = RunFolder(self.path.parent.parent) if is_checkpoint(self.path) else self
        of_checkpoint = (self.path / "state.json", self.path / "tensors.json", *self.path.glob("*.safetensors"))
        found = (run.path / "recipe.yaml", run.metrics, *run.checkpoints.rglob("*"), *of_checkpoint)
        made = (self.samples.name, self.evaluation.name, self.evaluation_picture.name)
        return [path for path in found if path.name not in made]

    def latest(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        return next(iter(self.newest_first()), None)

    def newest_first(self) -> list[Path]:
        """The complete checkpoints: the latest, then what was written before it, then anything else."""
        found = sorted(filter(is_checkpoint, self.checkpoints.glob("step_*")), reverse=True)
        latest = self._named("latest") or next(iter(found), None)
        return sorted(found, key=lambda path: latest is not None and path.name > latest.name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs out of the folder for the length of the block. Raises ValueError when another is in it.

        The system lets go of the lock when the process ends, however it does. A file system without locks is trusted.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            try:
                _lock(file)
            except BlockingIOError:
                file.seek(0)
                raise ValueError(f"{self.path}: in use by {file.read().strip()}; choose another name=") from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield

    def is_in_use(self) -> bool:
        """Whether a run is in the folder. False, too, on a file system without locks."""
        try:
            with (self.path / ".lock").open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go of at once
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def best(self) -> Path | None:
        """The checkpoint with the lowest validation loss, if there is one."""
        return self._named("best")

    def begin(self, step: int) -> Path:
        """Makes an empty folder to write the checkpoint of a step into; what killed saves have left is removed."""
        for left in self.checkpoints.glob(".step_*"):
            remove(left)
        folder = self.incomplete(step)
        folder.mkdir(parents=True)
        return folder

    def complete(self, step: int, is_best: bool, keep_last: int) -> None:
        """Gives the checkpoint of a step, all of which is there, its name; makes it the latest; removes old ones."""
        folder = self.incomplete(step)
        final, replaced = self.checkpoints / _name(step), self.checkpoints / f".{_name(step)}.replaced"
        sync(folder)
        if final.exists():
            final.rename(replaced)
        folder.rename(final)
        sync(self.checkpoints)
        remove(replaced)
        if is_best:  # first: killed before the next line, the run comes by here again
            self.point("best", final)
        self.point("latest", final)
        self._prune(keep_last)

    def point(self, pointer: str, checkpoint: Path) -> None:
        """Makes a checkpoint the "latest" or the "best"."""
        integrity.write_sealed(self.checkpoints / pointer, {"checkpoint": checkpoint.name})

    def _named(self, pointer: str) -> Path | None:
        path = self.checkpoints / pointer
        if not path.exists():
            return None
        try:
            named = path.with_name(integrity.read_sealed(path, _POINTER)["checkpoint"])
        except (integrity.Damaged, ValueError) as error:
            note(f"{error}; it is not used")
            return None
        return named if is_checkpoint(named) else None

    def _prune(self, keep_last: int) -> None:
        if self.best() is None and (self.checkpoints / "best").exists():  # which one it is cannot be read: all may be
            return
        found = self.newest_first()  # higher steps than the latest are of a branch that was given up
        kept = {*found[:keep_last], self.best()}
        for folder in found:
            if folder not in kept:
                remove(folder)


def is_checkpoint(path: Path) -> bool:
    """Whether this is, by its name, a checkpoint in the folder of a run."""
    return _CHECKPOINT.fullmatch(path.name) is not None and path.is_dir()


def _lock(file: IO[str]) -> None:
    """Takes the lock of a folder. Raises BlockingIOError when it is held for longer than a look at it takes."""
    for _ in range(10):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _name(step: int) -> str:
    return f"step_{step:08d}"
