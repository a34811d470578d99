"""A task on a cluster as nemo_run knows it: a script and an executor. Only this and experiment.py import nemo_run.

What of nemo_run 0.11 matters here and could change with another version:

- its sbatch template sets `exitcode` and `head_node_ip`, and runs `setup_lines` before the task
- the last of `srun_args` hold; before them it writes --wait=60 --kill-on-bad-exit=1, which would hide exit codes
- it puts the folder of the task in place of every /nemo_run, and writes values of env_vars unquoted
- LocalTunnel reads what is written below NEMORUN_HOME, so that this has to be the cluster's own folder
- a job's name has to hold a prefix, or it makes one of the account
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import nemo_run as run
from nemo_run.config import RUNDIR_NAME, get_nemorun_home

from d2plm_megatron.config.checks import nearest

from . import scripts
from .cluster import Cluster
from .tasks import Task


def script(task: Task, cluster: Cluster, launcher: str, at_once: int | None) -> run.Script:
    """What nemo_run runs for a task, of which `at_once` run at a time on this machine."""
    here = Path.cwd()
    if cluster.executor == "local":
        return run.Script(inline=scripts.on_this_machine(task, cluster, here, at_once))
    seen = cluster.executor == "slurm" and cluster.ssh_tunnel is None and cluster.image(task.kind) is None
    if cluster.executor != "slurm":
        launcher = "torchrun"  # nobody else starts several processes
    return run.Script(inline=scripts.of_process(task, cluster, launcher, here if seen else None))


def executor(task: Task, cluster: Cluster, launcher: str, experiment: str) -> Any:
    """Where nemo_run runs a task.

    Args:
        task: to run.
        cluster: to run it on.
        launcher: srun, which starts a process for each GPU itself, or torchrun, which is started once on each node.
        experiment: its id.
    """
    return _EXECUTORS[cluster.executor](task, cluster, launcher, experiment)


def _local(task: Task, cluster: Cluster, launcher: str, experiment: str) -> run.LocalExecutor:
    return run.LocalExecutor()


def _slurm(task: Task, cluster: Cluster, launcher: str, experiment: str) -> run.SlurmExecutor:
    needs, image = task.resources, cluster.image(task.kind)
    partition = cluster.partition_of(needs)
    limit = needs.time or cluster.timeouts.get(partition or "")
    folder = f"{experiments_folder(cluster)}/{experiment.rpartition('_')[0]}/{experiment}"
    return run.SlurmExecutor(
        account=needs.account or cluster.account,
        partition=partition,
        job_name_prefix=cluster.job_name_prefix,
        nodes=needs.nodes,
        ntasks_per_node=needs.processes_per_node if launcher == "srun" else 1,
        gpus_per_node=needs.gpus_per_node or None,
        time=limit,
        signal=cluster.signal,
        container_image=image,
        container_mounts=_mounts(cluster) if image else [],
        container_env=[text.partition("=")[0] for text in (*cluster.env_vars, *cluster.required_env_vars)],
        tunnel=_tunnel(cluster),
        packager=_packager(task),
        srun_args=["--kill-on-bad-exit=0", f"--wait={scripts.SAVING_SECONDS}", *cluster.srun_args],
        setup_lines=scripts.of_batch(cluster, launcher, folder),
        additional_parameters={"kill_on_invalid_dep": "yes", **cluster.sbatch},
        poll_estimated_start_time=False,
    )


def _docker(task: Task, cluster: Cluster, launcher: str, experiment: str) -> run.DockerExecutor:
    return run.DockerExecutor(
        container_image=cluster.image(task.kind),
        num_gpus=task.resources.gpus_per_node or None,
        volumes=_mounts(cluster),
        ipc_mode="host",  # else /dev/shm has 64 MiB, and NCCL asks for more
        ulimits=["memlock:-1", "stack:67108864"],
        network="host",
        additional_kwargs={"user": f"{os.getuid()}:{os.getgid()}"},
        packager=_packager(task),
    )


def _skypilot(task: Task, cluster: Cluster, launcher: str, experiment: str) -> run.SkypilotExecutor:
    known = [item.name for item in dataclasses.fields(run.SkypilotExecutor) if item.init]
    for key in cluster.skypilot:
        if key not in known:
            raise ValueError(f"skypilot.{key}: nemo_run knows no such; did you mean {nearest(key, known) or 'infra'}?")
    try:
        return run.SkypilotExecutor(
            container_image=cluster.image(task.kind),
            num_nodes=task.resources.nodes,
            gpus_per_node=task.resources.gpus_per_node or None,
            torchrun_nproc_per_node=task.resources.processes_per_node,
            setup=cluster.setup or None,
            packager=run.GitArchivePackager(),
            **cluster.skypilot,
        )
    except AssertionError as error:  # where SkyPilot is not installed
        raise ValueError(f"executor=skypilot: {error}") from error


def check_replaced(task: Task, cluster: Cluster) -> None:
    """Raises ValueError for a path that nemo_run would change: it puts a folder in place of every /nemo_run."""
    if cluster.executor == "slurm" and cluster.image(task.kind) is None:
        for text in (*task.command, cluster.setup, experiments_folder(cluster), str(Path.cwd())):
            if f"/{RUNDIR_NAME}" in text:
                raise ValueError(
                    f"{text}: nemo_run puts a folder of its own in place of /{RUNDIR_NAME}; use another path"
                )


def experiments_folder(cluster: Cluster) -> str:
    """Where the cluster's nodes see the folders of all experiments."""
    return f"{cluster.folder or get_nemorun_home()}/experiments"


def _mounts(cluster: Cluster) -> list[str]:
    """What a container sees: the cluster's folder, or the working one, and what its file names."""
    own = cluster.folder or Path.cwd()
    return [f"{own}:{own}", *cluster.mounts]


def _tunnel(cluster: Cluster) -> run.LocalTunnel | run.SSHTunnel:
    if (ssh := cluster.ssh_tunnel) is None:
        return run.LocalTunnel(job_dir=experiments_folder(cluster))
    return run.SSHTunnel(
        host=ssh.host, user=ssh.user, port=ssh.port, identity=ssh.key, job_dir=experiments_folder(cluster)
    )


def _packager(task: Task) -> run.Packager:
    """Brings the recipe's file and those beside it into the folder that the task runs in, where it must travel."""
    if task.ships is None:
        return run.Packager()
    beside = Path(task.ships).parent
    return run.PatternPackager(include_pattern=str(beside / "*.py"), relative_path=str(beside))


_EXECUTORS = {"local": _local, "slurm": _slurm, "docker": _docker, "skypilot": _skypilot}
