"""A training run from a recipe to its end: processes, folder and loop, for the command line and for notebooks."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.parallel.agreement import of_the_first
from d2plm_megatron.parallel.launched import adopt_slurm, check_batch, check_layout, check_restart, world_size
from d2plm_megatron.parallel.preemption import PreemptionHandler
from d2plm_megatron.parallel.processes import Processes, parallel_context
from d2plm_megatron.runs.beginning import begun
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.training.reporter import Callback
from d2plm_megatron.training.trainer import Trainer

Announce = Callable[[Recipe, Processes], object]


def train(recipe: Recipe, callback: Callback | None = None) -> Path:
    """Trains as a recipe says, from where its run folder stands, and returns that folder.

    In a notebook in one process; in a script that torchrun starts, in all of them. Ctrl-C saves and stops, and the same
    call continues.

    Args:
        recipe: what to do; data.train must be given.
        callback: called in the main process with each line of the log when it is written, a dict with "kind" ("train"
            or "validation"), "step", "time" and numbers by name. What it raises ends the training.

    Raises ValueError for what the recipe, the data or the run folder do not allow.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()  # nowhere else do signals come
    with PreemptionHandler() if in_main_thread else nullcontext(PreemptionHandler()) as preemption:
        return _run(recipe, preemption, callback=callback)[1]


def run(
    recipe: Recipe,
    preemption: PreemptionHandler,
    announce: Announce = lambda recipe, processes: None,
    callback: Callback | None = None,
) -> bool:
    """Trains in as many processes as were started; false when the run was interrupted, and saved, before its end.

    Args:
        recipe: what to do.
        preemption: asked between steps whether to save and stop.
        announce: called in the main process, before anything is read, with the recipe under its whole name.
        callback: as of `train`.
    """
    return _run(recipe, preemption, announce, callback)[0]


def _run(
    recipe: Recipe,
    preemption: PreemptionHandler,
    announce: Announce = lambda recipe, processes: None,
    callback: Callback | None = None,
) -> tuple[bool, Path]:
    """(what `run` returns, the folder of the run)."""
    adopt_slurm()
    check_batch(recipe, check_layout(recipe.parallel, world_size()))
    with parallel_context(recipe.parallel) as processes:
        recipe = replace(recipe, name=of_the_first(lambda: begun(recipe).name))
        folder = RunFolder(Path(recipe.output) / recipe.name)
        check_restart(folder.path)
        if processes.is_main:
            announce(recipe, processes)
        with folder.locked() if processes.is_main else nullcontext():
            return Trainer.of(recipe, processes, preemption, callback).fit(), folder.path
