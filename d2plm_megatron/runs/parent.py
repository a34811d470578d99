"""The checkpoint whose weights a run begins with (train.init_from), and whether the run can."""

from pathlib import Path
from typing import Any

from d2plm_megatron.config import Model, Recipe
from d2plm_megatron.runs import tensor_index
from d2plm_megatron.runs.checkpoint import FREE, Checkpoint
from d2plm_megatron.runs.folder import RunFolder


def check_another(recipe: Recipe, folder: RunFolder) -> None:
    """Raises ValueError when train.init_from names the folder of the run itself, or something in it."""
    if recipe.train.init_from is not None:
        given = Path(recipe.train.init_from).resolve()
        if folder.path.resolve() in (given, *given.parents):
            raise ValueError(
                f"train.init_from={recipe.train.init_from}: is of this run itself; choose another name= to begin "
                "another run with its weights"
            )


def check_parent(recipe: Recipe) -> Checkpoint | None:
    """The checkpoint whose weights the run would begin with, if it began now; None for drawn weights or its own.

    Raises ValueError when train.init_from names what it cannot begin with.
    """
    folder = RunFolder(Path(recipe.output) / recipe.name)
    check_another(recipe, folder)
    return None if recipe.train.init_from is None or folder.newest_first() else parent_of(recipe)


def parent_of(recipe: Recipe) -> Checkpoint:
    """The checkpoint that train.init_from names, the best of a run. Nothing but its small files is read.

    Raises ValueError, naming what to change, when there is none, when it lacks the weights that train.init_weights
    names, or is of another model: only time conditioning may be added.
    """
    assert recipe.train.init_from is not None
    key = f"train.init_from={recipe.train.init_from}"
    try:
        checkpoint = Checkpoint.open(Path(recipe.train.init_from))
        held = tensor_index.read(checkpoint.path)
    except ValueError as error:
        raise ValueError(f"train.init_from: {error}") from error
    if different := _difference(checkpoint.recipe.model, recipe.model):
        raise ValueError(f"{key}: {different}")
    if recipe.train.init_weights not in held:
        raise ValueError(f"{key}: holds {', '.join(held)}, but no {recipe.train.init_weights}: set train.init_weights")
    return checkpoint


def origin_of(parent: Checkpoint, weights: str) -> dict[str, Any]:
    """What a run that begins with weights of this checkpoint notes of it, for state.json."""
    return {
        "path": str(parent.path),
        "step": parent.state["progress"]["step"],
        "weights": weights,
        "tensors": parent.state["files"][tensor_index.NAME]["blake2b"],
    }


def adds_time(parent: Checkpoint, recipe: Recipe) -> bool:
    """Whether a run has time conditioning and its parent has none."""
    return recipe.model.time_conditioning and not parent.recipe.model.time_conditioning


def _difference(there: Model, here: Model) -> str | None:
    """The first key that keeps weights from one model out of the other, in words, with what to do."""
    for name, value in vars(there).items():
        wanted = getattr(here, name)
        if name == "time_conditioning" and value and not wanted:
            return "model.time_conditioning=true there, false here: it cannot be dropped; set it to true"
        if name not in (*FREE, "time_conditioning") and value != wanted:
            there_and_here = f"model.{name}={_shown(value)} there, {_shown(wanted)} here"
            return f"{there_and_here}; give model.{name}={_shown(value)}, or begin from another run"
    return None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
