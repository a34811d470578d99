"""What a run begins with, or from where it goes on, and whether it may."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.parameters import trained
from d2plm_megatron.data.stream import Position
from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.parent import adds_time, check_another, origin_of, parent_of
from d2plm_megatron.runs.tensor_index import RAW
from d2plm_megatron.training import checkpointing
from d2plm_megatron.training.fingerprint import OBJECTIVE, VALIDATION, changes
from d2plm_megatron.training.progress import Progress
from d2plm_megatron.training.stored_weights import StoredWeights

Say = Callable[[str], object]
"""Tells the user, once for all processes."""


@dataclass(frozen=True)
class Start:
    """What a run has when it is started.

    Attributes:
        checkpoint: its own, from which it goes on; None when it begins.
        weights: where they are read; None when they are drawn.
        origin: of the weights with which the run began, as in state.json; None when they were drawn.
    """

    checkpoint: Checkpoint | None = None
    weights: StoredWeights | None = None
    origin: dict[str, Any] | None = None


def find_start(folder: RunFolder, recipe: Recipe, say: Say) -> Start:
    """Its own newest checkpoint, else what train.init_from names, else nothing. All processes take part.

    Raises ValueError if the run must not be continued, or cannot begin with what it should.
    """
    check_another(recipe, folder)
    checkpoint = newest_checkpoint(folder, recipe, say)
    given, group = recipe.train.init_from, recipe.train.init_weights
    if checkpoint is not None:
        if given is not None:
            say(f"train.init_from={given} was for the beginning: this run goes on from its own checkpoint")
        return Start(checkpoint, StoredWeights(checkpoint.path, RAW), checkpoint.state["origin"])
    if given is None:
        return Start()
    parent = parent_of(recipe)
    try:
        checkpointing.check_whole(parent)
    except integrity.Damaged as error:
        raise ValueError(f"train.init_from: {error}") from error
    say(f"beginning with the {group} weights of {parent.path} at step {parent.state['progress']['step']:,}")
    return Start(None, StoredWeights(parent.path, group, adds_time(parent, recipe)), origin_of(parent, group))


def newest_checkpoint(folder: RunFolder, recipe: Recipe, say: Say) -> Checkpoint | None:
    """The checkpoint to continue from, undamaged. All processes take part.

    Raises ValueError if the run must not be continued, or was of another model.
    """
    found = folder.newest_first()
    if found and recipe.train.resume == "never":
        raise ValueError(
            f"train.resume=never: {folder.path} already holds a run; choose another name= or remove the folder"
        )
    checkpoint = checkpointing.newest_whole(found, say)
    if checkpoint is not None:
        checkpoint.check_model(recipe)
        _check_trained(checkpoint, recipe)
    return checkpoint


def _check_trained(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Raises ValueError unless the same parameters train as before: others have no moments in the checkpoint."""
    before, now = checkpoint.recipe, recipe
    if trained(before.model, before.train.trainable) != trained(now.model, now.train.trainable):
        raise ValueError(
            f"{checkpoint.path}: trained with train.trainable={before.train.trainable}, but the recipe says "
            f"{now.train.trainable}; give what it had, or choose another name= and train.init_from={checkpoint.path}"
        )


def progress_of(checkpoint: Checkpoint, recipe: Recipe, fingerprint: dict[str, Any], say: Say) -> Progress:
    """Where the run of a checkpoint stood, for a run with the given fingerprint to go on from.

    Raises ValueError when what decides its data and objective has changed, unless the recipe allows it. Other
    validation data are no other run: only the best loss so far cannot be compared with theirs.
    """
    progress = Progress.from_json(checkpoint.state["progress"])
    changed = changes(checkpoint.state["data"], fingerprint)
    if not changed:
        return progress
    words = "; ".join(f"{key}: {what}" for key, what in changed.items())
    of_run = changed.keys() - {VALIDATION}
    if of_run and recipe.train.resume != "changed":
        raise ValueError(
            f"{checkpoint.path}: this run was trained otherwise: {words}; choose another name=, give what it had, or "
            "let its weights go on with train.resume=changed"
        )
    if of_run - {OBJECTIVE}:
        progress.position = Position()
        words += "; the data begin anew"
    if changed.keys() & {OBJECTIVE, VALIDATION}:
        progress.forget_best()
        words += "; the best validation loss is forgotten"
    say(f"changed since: {words}")
    return progress
