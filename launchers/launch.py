"""From what is asked for, a run or a sweep, to what is submitted: planned, checked, and tried before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import checks, rehearsed
from .cluster import Cluster
from .plan import Request, named, plan
from .sweep.launched import launched
from .sweep.show import tell
from .tasks import Task


@dataclass(frozen=True, kw_only=True)
class How:
    """How it is launched.

    Attributes:
        launcher: srun or torchrun.
        at_once: tasks of a sweep that run at a time; None for one here, and for as many as there is room for on Slurm.
        dry_run: the scripts are printed, and nothing is submitted.
        rehearsal: the first rank is rehearsed before.
        wait: until all tasks have ended.
        nsys: the steps, from one to another, that `nsys profile` captures of a training; None for none.
    """

    launcher: str = "srun"
    at_once: int | None = None
    dry_run: bool = False
    rehearsal: bool = True
    wait: bool = False
    nsys: tuple[int, int] | None = None


def launch(request: Request, cluster: Cluster, how: How) -> int:
    """Submits what is asked for, once nothing speaks against it. Returns an exit code.

    Raises ValueError in one line for what cannot work.
    """
    sweep = launched(request, cluster, how.at_once)
    if sweep is None:
        request = named(request, cluster)
        tasks = plan(request, cluster)
        _try([request], tasks, cluster, how)
        return _submit(request.resolved().name, tasks, cluster, how, how.at_once)
    _try(sweep.requests, sweep.tasks, cluster, how)
    is_here = cluster.ssh_tunnel is None and not how.dry_run
    if is_here:
        sweep.sweep.write()
    at_once = how.at_once or (1 if cluster.executor == "local" else None)
    code = _submit(sweep.sweep.folder.name, sweep.tasks, cluster, how, at_once) if sweep.tasks else 0
    if is_here and (how.wait or cluster.executor == "local"):
        tell(sweep.sweep.folder, [])
    return code


def _try(requests: Sequence[Request], tasks: Sequence[Task], cluster: Cluster, how: How) -> None:
    """Raises ValueError where the cluster, a dry run, or the rehearsal of the first of the requests speaks against."""
    checks.check(cluster, tasks)
    for request in requests:
        if request.prepare and cluster.ssh_tunnel is None and not Path(request.prepare).expanduser().is_file():
            raise ValueError(f"--prepare {request.prepare}: no such file")
        rehearsed.dry_run(request, cluster, shows=how.dry_run)
    if how.rehearsal and not how.dry_run and requests and cluster.gpu_memory:
        rehearsed.rehearse(requests[0], cluster)


def _submit(name: str, tasks: Sequence[Task], cluster: Cluster, how: How, at_once: int | None) -> int:
    from .experiment import submit, use_home

    use_home(cluster)
    from .plugins import Nsys  # with nemo_run, which takes seconds

    plugins = [Nsys(start_step=how.nsys[0], end_step=how.nsys[1])] if how.nsys else []
    return submit(
        _title(name),
        tasks,
        cluster,
        launcher=how.launcher,
        at_once=at_once,
        plugins=plugins,
        dry_run=how.dry_run,
        wait=how.wait,
    )


def _title(name: str) -> str:
    """The name of a run, fit for folders and jobs."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
