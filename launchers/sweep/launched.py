"""A sweep as it is launched: the tasks of every point that has something left to do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import build, find, load
from d2plm_megatron.console import counted

from ..cluster import Cluster
from ..plan import Request, base_of
from ..plan import plan as tasks_of
from ..tasks import Task
from .outcomes import is_finished
from .record import Point, Sweep, plan


@dataclass(frozen=True, kw_only=True)
class LaunchedSweep:
    """What a sweep comes to on a cluster.

    Attributes:
        sweep: what was asked for.
        requests: those of the points that are not finished, one of all that are alike but for how they are optimized.
        tasks: of all points; a finished one is not trained again.
    """

    sweep: Sweep
    requests: Sequence[Request]
    tasks: Sequence[Task]


def launched(request: Request, cluster: Cluster, at_once: int | None) -> LaunchedSweep | None:
    """The sweep that a request asks for, whose points go on where they stand; None where nothing is swept.

    Raises ValueError for the first point that cannot be, with its name.
    """
    planned = plan(request.recipe, build(load(find(request.recipe))), request.overrides, base_of(cluster))
    if planned is None:
        return None
    if request.prepare and at_once is not None and cluster.executor == "slurm":
        raise ValueError("--at-once: the jobs of a sweep would wait for --prepare as well; prepare first, by itself")
    sweep, points = planned
    finished = {point.name for point in points if cluster.ssh_tunnel is None and is_finished(point)}
    tasks = [task for point in points for task in _tasks(point, request, cluster, point.name in finished)]
    left_out = f", of which {len(finished):,} are finished" if finished else ""
    print(f"{sweep.folder}: a sweep of {counted(len(points), 'point')}{left_out}", flush=True)
    unlike = {_size(point.recipe): point for point in reversed(points) if point.name not in finished}
    return LaunchedSweep(
        sweep=sweep,
        requests=[replace(request, overrides=point.overrides) for point in reversed(unlike.values())],
        tasks=list({task.name: task for task in tasks}.values()),  # all points prepare the same
    )


def _size(recipe: Recipe) -> tuple[object, ...]:
    """All that decides what a run takes."""
    return recipe.model, recipe.objective, recipe.data, recipe.parallel, replace(recipe.train, seed=0)


def _tasks(point: Point, request: Request, cluster: Cluster, is_done: bool) -> list[Task]:
    """The tasks of a point, by names that hold its own; prepare is that of the whole sweep."""
    tasks = tasks_of(replace(request, overrides=point.overrides), cluster)
    names = {task.name: task.name if task.kind == "prepare" else f"{task.kind}-{point.name}" for task in tasks}
    left = [task for task in tasks if not (is_done and task.kind in ("prepare", "train"))]
    there = {task.name for task in left}
    return [
        replace(task, name=names[task.name], after=tuple(names[name] for name in task.after if name in there))
        for task in left
    ]
