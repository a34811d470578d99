"""Hands tasks to nemo_run as one experiment, and waits for them where that is asked for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cluster import Cluster
from .tasks import Task


def submit(
    name: str,
    tasks: Sequence[Task],
    cluster: Cluster,
    *,
    launcher: str = "srun",
    at_once: int | None = None,
    plugins: Sequence[Any] = (),
    dry_run: bool = False,
    wait: bool = False,
) -> int:
    """Submits tasks, each after those that it names. Returns an exit code: 0 where nothing has failed so far.

    Args:
        name: of the experiment.
        tasks: in an order in which each comes after those that it names.
        cluster: to run on. On this machine all tasks have ended when this returns.
        launcher: srun or torchrun.
        at_once: no more than so many tasks without dependencies run at a time; None for as many as there is room for.
        plugins: of nemo_run, which change each task and its executor.
        dry_run: print the scripts, and submit nothing.
        wait: until all have ended, with their logs on the screen.
    """
    if cluster.folder and cluster.ssh_tunnel is None:
        os.environ["NEMORUN_HOME"] = cluster.folder  # read when nemo_run is imported
    import nemo_run as run

    from . import executors

    with run.Experiment(
        name, log_level="ERROR", clean_mode=True, enable_goodbye_message=False, skip_status_at_exit=True
    ) as experiment:
        for task in tasks:
            experiment.add(
                executors.script(task, cluster, launcher),
                executor=executors.executor(task, cluster, launcher, experiment._id),
                name=task.name,
                plugins=list(plugins) or None,
                dependencies=list(task.after) or None,
            )
        if dry_run:
            experiment.dryrun(log=False, delete_exp_dir=False)
            folder = Path(experiment._exp_dir)
            for path in sorted(folder.rglob("*.sh")):
                print(f"# {path.relative_to(folder)}\n{path.read_text()}")
            return 0
        experiment.run(detach=not wait)
    return 0
