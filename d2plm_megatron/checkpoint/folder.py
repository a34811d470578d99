"""The folder of a run, and of each checkpoint in it.

RUN/recipe.yaml                      what the run is, all overrides applied
RUN/metrics.jsonl                    a line per progress report and per evaluation
RUN/curve.png
RUN/.lock                            held by the run that writes here
RUN/checkpoints/latest               name of the newest complete checkpoint
RUN/checkpoints/best                 name of the one with the lowest validation loss
RUN/checkpoints/step_00001000/
    state.json                       step, position in the data, what was counted; versions, layout and checksums
    recipe.yaml
    *.distcp, .metadata, ...         weights, average and optimizer (see tensors.py)
"""

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.checkpoint import integrity
from d2plm_megatron.config import Recipe
from d2plm_megatron.files import write_text
from d2plm_megatron.overrides import from_yaml, to_yaml

FORMAT = 2
RECIPE = "recipe.yaml"


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

    def incomplete(self, step: int) -> Path:
        """Where the checkpoint of a step is written."""
        return self.checkpoints / f".{_name(step)}.incomplete"

    def latest(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        return next(iter(self.newest_first()), None)

    def newest_first(self) -> list[Path]:
        """The complete checkpoints: the latest, then what was written before it, then anything else."""
        found = sorted(self.checkpoints.glob("step_*"), reverse=True)
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
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def best(self) -> Path | None:
        """The checkpoint with the lowest validation loss, if there is one."""
        return self._named("best")

    def begin(self, step: int) -> Path:
        """Makes an empty folder to write the checkpoint of a step into; what killed saves have left is removed."""
        for left in self.checkpoints.glob(".step_*"):
            shutil.rmtree(left)
        folder = self.incomplete(step)
        folder.mkdir(parents=True)
        return folder

    def complete(self, step: int, checkpoint: "Checkpoint", is_best: bool, keep_last: int) -> None:
        """Gives a whole checkpoint its name, makes it the latest, and removes those that are no longer kept.

        The tensors are there; recipe and state of `checkpoint` are written here.
        """
        folder = self.incomplete(step)
        checkpoint.write()
        final, replaced = self.checkpoints / _name(step), self.checkpoints / f".{_name(step)}.replaced"
        if final.exists():
            final.rename(replaced)
        folder.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)
        if is_best:  # first: killed before the next line, the run comes by here again
            write_text(self.checkpoints / "best", final.name)
        write_text(self.checkpoints / "latest", final.name)
        self._prune(keep_last)

    def _named(self, pointer: str) -> Path | None:
        path = self.checkpoints / pointer
        folder = self.checkpoints / path.read_text(encoding="utf-8").strip() if path.exists() else None
        return folder if folder is not None and folder.is_dir() else None

    def _prune(self, keep_last: int) -> None:
        found = self.newest_first()  # higher steps than the latest are of a branch that was given up
        kept = {*found[:keep_last], self.best()}
        for folder in found:
            if folder not in kept:
                shutil.rmtree(folder)


def _name(step: int) -> str:
    return f"step_{step:08d}"


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line that was cut off is left out."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint.

    Attributes:
        path: its folder.
        recipe: of the run that wrote it.
        state: the contents of state.json.
    """

    path: Path
    recipe: Recipe
    state: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Reads what is human-readable.

        Takes the folder of a checkpoint, or of a run, of which it takes the best checkpoint, else the latest. Raises
        ValueError when there is none, or when it was written by another version of this format; Damaged when files are
        missing or have another size, or what is human-readable has changed.
        """
        run = RunFolder(path)
        folder = path if (path / "state.json").exists() else run.best() or run.latest()
        if folder is None or not (folder / "state.json").exists():
            raise ValueError(f"{path}: no checkpoint (a folder with state.json) and no run with one")
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise integrity.Damaged(f"{folder}: damaged: {integrity.OWN}: {error}") from error
        if state.get("format") != FORMAT:
            raise ValueError(f"{folder}: format {state.get('format')}; this version reads format {FORMAT}")
        files = state["files"]
        read = {RECIPE: files[RECIPE]}
        if wrong := integrity.sizes_differ(folder, files) or integrity.contents_differ(folder, read):
            raise integrity.Damaged(f"{folder}: damaged: {'; '.join(wrong)}")
        return cls(folder, from_yaml(folder / RECIPE), state)

    def write(self) -> None:
        """Writes state.json and recipe.yaml beside the tensors; state["files"] holds the checksums of these."""
        recipe = self.path / RECIPE
        recipe.write_text(to_yaml(self.recipe), encoding="utf-8")
        files = {**self.state["files"], **integrity.describe([recipe])}
        state = {"format": FORMAT, **self.state, "files": files}
        (self.path / integrity.OWN).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")

    def check_whole(self, advance: Callable[[int], object] = lambda size: None) -> None:
        """Reads all files but state.json, calling `advance` with the bytes of each.

        Raises Damaged saying what is wrong unless they are what was written.
        """
        files = self.state["files"]
        if wrong := integrity.sizes_differ(self.path, files) or integrity.contents_differ(self.path, files, advance):
            others = [path.name for path in RunFolder(self.path.parent.parent).newest_first() if path != self.path]
            hint = f"; there is also {', '.join(others)}" if others else ""
            raise integrity.Damaged(f"{self.path}: damaged: {'; '.join(wrong)}{hint}")

    def check_model(self, recipe: Recipe) -> None:
        """Raises ValueError, naming the first difference, unless a recipe's model is the one that was saved."""
        for name, saved in vars(self.recipe.model).items():
            wanted = getattr(recipe.model, name)
            if wanted != saved and name not in ("layer_spec", "init_std"):
                raise ValueError(f"{self.path}: saved with model.{name}={saved}, but the recipe says {wanted}")
