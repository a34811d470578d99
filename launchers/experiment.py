"""Hands tasks to nemo_run as one experiment, and waits for them where that is asked for."""

import os
import shlex
import shutil
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from d2plm_megatron.parallel.preemption import SAVED_AND_STOPPED

from . import shell, watch
from .cluster import Cluster
from .scripts import EXIT_CODE
from .tasks import Task
from .watch import Followed

FAILED, INTERRUPTED = 1, 130

_QUIET = {"clean_mode": True, "enable_goodbye_message": False, "skip_status_at_exit": True, "log_level": "CRITICAL"}


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

    Raises ValueError in one line where nemo_run, or the cluster, refuses them; then nothing is left behind.
    """
    use_home(cluster)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nemo_run as run
    with run.Experiment(name, **_QUIET) as experiment:
        _add(experiment, tasks, cluster, launcher, at_once, plugins)
        if dry_run:
            _print_scripts(experiment)
            return 0
        if cluster.executor == "local":
            return _run_here(experiment, tasks, cluster)
        return _run_there(experiment, tasks, cluster, wait)


def use_home(cluster: Cluster) -> None:
    """Has nemo_run, not yet imported, keep its experiments in the cluster's folder, where that is seen from here."""
    if cluster.folder and cluster.ssh_tunnel is None:
        os.environ["NEMORUN_HOME"] = cluster.folder


def _add(
    experiment: Any,
    tasks: Sequence[Task],
    cluster: Cluster,
    launcher: str,
    at_once: int | None,
    plugins: Sequence[Any],
) -> None:
    from . import executors

    before = _lanes(tasks, at_once) if at_once is not None and cluster.executor == "slurm" else {}
    for task in tasks:
        executors.check_replaced(task, cluster)
        executor = executors.executor(task, cluster, launcher, experiment._id)
        if task.name in before:
            executor.dependency_type = "afterany"
        experiment.add(
            executors.script(task, cluster, launcher, at_once),
            executor=executor,
            name=task.name,
            plugins=list(plugins) or None,
            dependencies=before.get(task.name) or list(task.after) or None,
        )


def _lanes(tasks: Sequence[Task], number: int) -> dict[str, list[str]]:
    """By name, for whose end a task waits, whatever becomes of it, so that so many lanes of them run at a time."""
    free = [task.name for task in tasks if not task.after]
    return {name: [before] for before, name in zip(free, free[number:], strict=False)}


def _print_scripts(experiment: Any) -> None:
    folder = Path(experiment._exp_dir)
    try:
        experiment.dryrun(log=False, delete_exp_dir=False)
        for path in sorted(folder.rglob("*.sh"), key=lambda path: path.stat().st_mtime_ns):
            print(f"# {path.relative_to(folder)}\n{path.read_text(encoding='utf-8')}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _launch(experiment: Any) -> None:
    """Submits all tasks, or none: where the cluster refuses one, those before it are cancelled."""
    try:
        experiment.run(detach=True)
    except Exception as error:
        for job in experiment.jobs:
            if job.handle:
                job.cancel(experiment._runner)
        said = getattr(getattr(error, "result", None), "stderr", "") or str(error)
        raise ValueError(f"nothing was submitted: {' '.join(said.split())}") from error


def _run_here(experiment: Any, tasks: Sequence[Task], cluster: Cluster) -> int:
    folder = Path(experiment._exp_dir)
    followed = [
        Followed(task.name, f"{shlex.quote(str(folder / task.name))}/nemo_run/*/*/*/combined.log") for task in tasks
    ]
    ask = partial(shell.output, cluster)
    with (
        watch.logs_shown(followed, ask),
        watch.ends_handed_on([folder / task.name for task in tasks]) as asked,
    ):
        experiment.run()
        if not getattr(experiment, "_waited", False):  # run() waits only where tasks depend on one another
            experiment._wait_for_jobs(experiment.jobs)
            experiment._waited = True
    codes = {task.name: watch.exit_code_of(folder / task.name / EXIT_CODE) for task in tasks}
    if asked and any(code != 0 for code in codes.values()):
        return SAVED_AND_STOPPED
    ends = {name: "did not run, or was killed" if code is None else f"exit code {code}" for name, code in codes.items()}
    told = _told([task for task in followed if codes[task.name] not in (0, SAVED_AND_STOPPED)], ends, ask)
    return SAVED_AND_STOPPED if SAVED_AND_STOPPED in codes.values() else told


def _run_there(experiment: Any, tasks: Sequence[Task], cluster: Cluster, wait: bool) -> int:
    _launch(experiment)
    jobs = {job.id: job.handle.rpartition("/")[2] for job in experiment.jobs}
    _say_how_to_look(experiment._id, tasks, jobs, cluster)
    if cluster.executor != "slurm":
        return _wait_by_nemo_run(experiment) if wait or cluster.executor == "docker" else 0
    return _wait(experiment, tasks, jobs, cluster) if wait else 0


def _wait(experiment: Any, tasks: Sequence[Task], jobs: Mapping[str, str], cluster: Cluster) -> int:
    from . import executors

    folder = f"{executors.experiments_folder(cluster)}/{experiment._title}/{experiment._id}"
    followed = [
        Followed(task.name, f"{shlex.quote(f'{folder}/{task.name}')}/log-*_{jobs[task.name]}_*.out", jobs[task.name])
        for task in tasks
    ]
    ask = partial(shell.output, cluster)
    try:
        watch.until_ended(followed, ask)
    except KeyboardInterrupt:
        print("no longer waiting; the tasks go on")
        return INTERRUPTED
    failed = [task for task in followed if task.state != watch.SUCCEEDED]
    return _told(failed, {task.name: task.state.lower() for task in failed}, ask)


def _wait_by_nemo_run(experiment: Any) -> int:
    """Of tasks in containers here, which cannot be left alone, and in clouds."""
    experiment._wait_for_jobs(experiment.jobs)
    experiment._waited = True
    ends = {job.id: job.state.name for job in experiment.jobs}
    print(*(f"{name}: {state.lower()}" for name, state in ends.items()), sep="\n")
    return 0 if set(ends.values()) == {"SUCCEEDED"} else FAILED


def _told(failed: Sequence[Followed], ends: Mapping[str, str], ask: watch.Run) -> int:
    """Says which tasks failed, and shows the end of their logs. Returns the exit code."""
    for task in failed:
        log = watch.end_of_log(task, ask)
        print(f"{task.name}: {ends[task.name]}" + (f"; the end of its log:\n{log}" if log else ", without a log"))
    return FAILED if failed else 0


def _say_how_to_look(experiment: str, tasks: Sequence[Task], jobs: Mapping[str, str], cluster: Cluster) -> None:
    home = f"NEMORUN_HOME={shlex.quote(cluster.folder)} " if cluster.folder and not cluster.ssh_tunnel else ""
    print("submitted " + ", ".join(f"{task.name} ({jobs[task.name]})" for task in tasks))
    print(f"  {home}nemo experiment status {experiment}")
    print(f"  {home}nemo experiment logs {experiment} 0      # of the first task")
    print(f"  {home}nemo experiment cancel {experiment} 0", flush=True)
