"""One complete checkpoint, a folder.

state.json                   step, position in the data, what was counted; whose weights the run began with (see
                             parent.py); versions, layout and checksums
recipe.yaml                  of the run that wrote it
tensors.json                 which file holds which part of which tensor (see tensor_index.py)
00000.safetensors, ...       weights, EMA and optimizer, a file per process
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml, to_yaml
from d2plm_megatron.files import sync
from d2plm_megatron.runs import integrity, tensor_index
from d2plm_megatron.runs.folder import RunFolder, is_checkpoint
from d2plm_megatron.runs.integrity import Damaged

FORMAT = 4
PICKLED_FORMATS = (1, 2)
RECIPE = "recipe.yaml"
STATE = "state.json"
"""Holds the others' checksums, and its own."""

FREE = ("backend", "init_std")
"""Keys of the model that decide nothing about trained weights."""

_PROGRESS = {
    **dict.fromkeys(("step", "num_updates", "skipped_in_a_row", "num_proteins", "num_tokens"), int),
    "validations_since_best": int,
    "best_loss": (float, int, None),
    "position": dict.fromkeys(("epoch", "window", "pack"), int),
}
_ORIGIN = {"path": str, "step": int, "weights": str, "tensors": str}
_SCHEMA = {
    "format": int,
    "origin": (_ORIGIN, None),
    "progress": _PROGRESS,
    "data": {},
    "layout": {},
    "versions": {str: str},
    "date": str,
    "files": {str: {"bytes": int, "blake2b": str}},
}


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
        folder = path if is_checkpoint(path) or (path / STATE).exists() else run.best() or run.latest()
        if folder is None:
            raise ValueError(f"{path}: no checkpoint (a folder with {STATE}) and no run with one")
        state = _read_state(folder / STATE)
        files = state["files"]
        if wrong := integrity.sizes_differ(folder, files):
            raise Damaged(f"{folder}: damaged: {'; '.join(wrong)}")
        if wrong := integrity.contents_differ(folder, {name: files[name] for name in (RECIPE, tensor_index.NAME)}):
            raise Damaged(f"{folder}: damaged: {'; '.join(wrong)}")
        return cls(folder, from_yaml(folder / RECIPE), state)

    def write(self) -> None:
        """Writes state.json and recipe.yaml beside the tensors; state["files"] holds the checksums of these."""
        recipe = self.path / RECIPE
        recipe.write_text(to_yaml(self.recipe), encoding="utf-8")
        sync(recipe)
        files = {**self.state["files"], **integrity.describe([recipe])}
        integrity.write_sealed(self.path / STATE, {"format": FORMAT, **self.state, "files": files})

    def check_whole(self, advance: Callable[[int], object] = lambda size: None) -> None:
        """Reads all files, calling `advance` with the bytes of each.

        Raises Damaged saying what is wrong unless they are what was written.
        """
        files = self.state["files"]
        if wrong := integrity.sizes_differ(self.path, files) or integrity.contents_differ(self.path, files, advance):
            others = [path.name for path in RunFolder(self.path.parent.parent).newest_first() if path != self.path]
            hint = f"; there is also {', '.join(others)}" if others else ""
            raise Damaged(f"{self.path}: damaged: {'; '.join(wrong)}{hint}")
        tensor_index.read(self.path)

    def check_model(self, recipe: Recipe) -> None:
        """Raises ValueError, naming the first difference, unless a recipe's model is the one that was saved."""
        for name, saved in vars(self.recipe.model).items():
            wanted = getattr(recipe.model, name)
            if wanted != saved and name not in FREE:
                raise ValueError(
                    f"{self.path}: saved with model.{name}={saved}, but the recipe says {wanted}; "
                    f"choose another name=, or give model.{name}={saved}"
                )


def _read_state(path: Path) -> dict[str, Any]:
    """The contents of state.json. Raises Damaged, or ValueError for the state of another version."""
    text = integrity.read_bytes(path)
    found = integrity.parsed(text, str(path))
    number = found.get("format") if isinstance(found, dict) else None
    if isinstance(found, dict) and integrity.CHECKSUM not in found and number in PICKLED_FORMATS:
        raise ValueError(
            f"{path.parent}: format {number}, of an early version: to read it would unpickle it, which can run code; "
            f"this version reads format {FORMAT} only"
        )
    state = integrity.unsealed(text, str(path))
    if state.get("format") != FORMAT:
        raise ValueError(f"{path.parent}: format {state.get('format')}; this version reads format {FORMAT}")
    state.setdefault("origin", None)
    if not integrity.fits(state, _SCHEMA) or not {RECIPE, tensor_index.NAME} <= state["files"].keys():
        raise Damaged(f"{path}: damaged: it lacks what belongs there, or holds values of another kind")
    if outside := [name for name in state["files"] if Path(name).name != name]:
        raise Damaged(f"{path}: damaged: {outside[0]!r} is no file of this folder")
    return state
