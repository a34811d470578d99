"""What is checked about a cluster before anything is submitted: one line now, instead of a job that fails at night."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.config.checks import nearest

from . import shell
from .cluster import Cluster
from .tasks import PYTHON, Resources, Task

PROGRAMS = ("sbatch", "squeue", "sinfo", "scontrol", "sacct")
"""Of Slurm, which this package or nemo_run calls."""


@dataclass(frozen=True)
class Partition:
    """What sinfo says of a partition, of its nodes that are alike.

    Attributes:
        name: of the partition.
        is_default: whether jobs go there that name none.
        is_up: whether it takes jobs.
        limit: longest time of a job, in seconds; None for no limit.
        nodes: number of them.
        gpus: of each that Slurm knows.
    """

    name: str
    is_default: bool
    is_up: bool
    limit: int | None
    nodes: int
    gpus: int


def check(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """Raises ValueError, in one line, for what this cluster cannot do."""
    _check_variables(cluster)
    if cluster.executor == "slurm":
        _check_slurm(cluster, tasks)
    else:
        _check_here(cluster, tasks)
    _check_folders(cluster, tasks)
    _check_python(cluster, tasks)


def seconds_of(time: str) -> int | None:
    """A time as Slurm writes it (minutes, 1:30:00, 2-12, 2-12:30:00) in seconds; None for infinite.

    Raises ValueError for anything else.
    """
    if time.lower() in ("infinite", "unlimited"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if match is None:
        raise ValueError(f"--time {time}: write minutes, HH:MM:SS or DAYS-HH:MM:SS")
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1] is not None:
        return days * 86_400 + first * 3_600 + second * 60 + third
    return first * 3_600 + second * 60 + third if match[4] else first * 60 + second


def partitions_of(cluster: Cluster) -> list[Partition]:
    """What sinfo says. Raises ValueError with its words where it does not answer."""
    done = shell.run(cluster, "sinfo --noheader --format='%P|%a|%l|%D|%G'")
    if done.returncode:
        raise ValueError(f"Slurm does not answer: {shell.last_line(done.stderr) or 'sinfo failed'}")
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 4]
    return [
        Partition(
            name=name.rstrip("*"),
            is_default=name.endswith("*"),
            is_up=state == "up",
            limit=None if limit == "n/a" else seconds_of(limit),
            nodes=int(nodes),
            gpus=sum(int(number) for number in re.findall(r"\bgpu:(?:[^:,(]+:)?(\d+)", gres)),
        )
        for name, state, limit, nodes, gres in rows
    ]


def _check_slurm(cluster: Cluster, tasks: Sequence[Task]) -> None:
    if absent := shell.missing(cluster, PROGRAMS):
        where = f"on {cluster.ssh_tunnel.host}" if cluster.ssh_tunnel else "here"
        advice = "" if cluster.ssh_tunnel else "; launch on the login node, or write ssh_tunnel into the cluster's file"
        raise ValueError(f"{absent[0]}: there is none {where}{advice}")
    known = partitions_of(cluster)
    for task in tasks:
        _check_account(cluster, task.resources.account or cluster.account)
        _check_partition(known, task.resources, cluster.partition_of(task.resources), cluster)
        _check_by_slurm(cluster, task)


def _check_partition(known: Sequence[Partition], needs: Resources, name: str | None, cluster: Cluster) -> None:
    rows = [row for row in known if (row.name == name if name else row.is_default)]
    if not rows:
        names = sorted({row.name for row in known})
        near = nearest(name, names) if name else None
        wrong = f"partition {name}: there is none" if name else "partition: there is no default; give --partition"
        hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
        raise ValueError(f"{wrong}; {hint}")
    name, limit = rows[0].name, rows[0].limit
    if not rows[0].is_up:
        raise ValueError(f"partition {name}: is down; ask whoever runs the cluster, or give another --partition")
    if (nodes := sum(row.nodes for row in rows)) < needs.nodes:
        raise ValueError(f"--nodes {needs.nodes}: partition {name} has {nodes}")
    if (with_gpus := sum(row.nodes for row in rows if row.gpus >= needs.gpus_per_node)) < needs.nodes:
        most = max(row.gpus for row in rows)
        instead = (
            f"give --gpus-per-node {most}"
            if most
            else "where whole nodes are given, write gpus_per_node: 0, processes_per_node and gpu_memory"
        )
        raise ValueError(
            f"--gpus-per-node {needs.gpus_per_node}: partition {name} has {with_gpus} such nodes; {instead}"
        )
    time = needs.time or cluster.timeouts.get(name)
    if time is not None and limit is not None and ((seconds := seconds_of(time)) is None or seconds > limit):
        raise ValueError(f"--time {time}: partition {name} allows {limit / 3600:,.4g} hours")


def _check_account(cluster: Cluster, account: str | None) -> None:
    """Of an account that is named, where Slurm's accounting answers."""
    if account is None:
        return
    line = "sacctmgr --noheader --parsable2 show associations where user=$(id -un) format=account"
    accounts = sorted({text for text in shell.output(cluster, line).split() if text})
    if accounts and account not in accounts:
        near = nearest(account, accounts)
        hint = f"did you mean {near}?" if near else f"yours are {', '.join(accounts)}"
        raise ValueError(f"account {account}: is none of yours; {hint}")


def _check_by_slurm(cluster: Cluster, task: Task) -> None:
    """Asks Slurm itself whether it would ever run such a job."""
    needs = task.resources
    options = {
        "account": needs.account or cluster.account,
        "partition": cluster.partition_of(needs),
        "nodes": needs.nodes,
        "ntasks-per-node": needs.processes_per_node,
        "gpus-per-node": needs.gpus_per_node or None,
        "time": needs.time,
        **{key.replace("_", "-"): value for key, value in cluster.sbatch.items()},
    }
    words = " ".join(shlex.quote(f"--{key}={value}") for key, value in options.items() if value is not None)
    done = shell.run(cluster, f"cd / && sbatch --test-only {words} --wrap true")
    if done.returncode:
        said = shell.last_line(done.stderr).removeprefix("sbatch: error: ").removeprefix("allocation failure: ")
        raise ValueError(f"task {task.name}: Slurm refuses {words}: {said}")


def _check_here(cluster: Cluster, tasks: Sequence[Task]) -> None:
    for task in tasks:
        if task.resources.nodes > 1:
            which = "is launched on one" if cluster.executor == "skypilot" else "has one, this machine"
            raise ValueError(f"--nodes {task.resources.nodes}: executor {cluster.executor} {which}")
        if task.after and cluster.executor != "local":
            raise ValueError(
                f"executor={cluster.executor}: nemo_run starts there what comes after a task that failed; launch "
                f"{task.after[0]} alone, and {task.name} when it has succeeded"
            )
        if cluster.executor != "skypilot" and task.resources.gpus_per_node and shutil.which("nvidia-smi") is None:
            raise ValueError(f"--gpus-per-node {task.resources.gpus_per_node}: there is no GPU here (no nvidia-smi)")


def _check_variables(cluster: Cluster) -> None:
    alone = [*(text for text in cluster.env_vars if "=" not in text), *cluster.required_env_vars]
    if alone and cluster.executor in ("docker", "skypilot"):
        raise ValueError(
            f"env_vars or required_env_vars: {alone[0]}: executor {cluster.executor} hands on no variable by its name "
            "alone: nemo_run would write its value into a file"
        )
    absent = [name for name in cluster.required_env_vars if not os.environ.get(name)]
    if absent and cluster.ssh_tunnel is None:
        raise ValueError(f"required_env_vars: {absent[0]}: is not set; export {absent[0]}=... in this shell")


def _check_folders(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """That what is mounted is there, and that the cluster's own folder can be written to."""
    images = {cluster.image(task.kind) for task in tasks} - {None}
    sources = [mount.split(":")[0] for mount in cluster.mounts] if images else []
    for path in (*sources, *(image for image in images if image and image.startswith("/"))):
        if shell.run(cluster, f"test -e {shlex.quote(path)}").returncode:
            raise ValueError(f"mounts or containers: {path}: is not there")
    _check_mounted(cluster, tasks)
    if cluster.folder and cluster.executor != "skypilot":
        folder = shlex.quote(cluster.folder)
        if shell.run(cluster, f"mkdir -p {folder} && test -w {folder}").returncode:
            raise ValueError(f"job_dir={cluster.folder}: cannot be written to")


def _check_python(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """That Slurm's jobs find the package, where they take this shell's environment and nothing else."""
    in_images = all(cluster.image(task.kind) for task in tasks)
    if cluster.executor != "slurm" or cluster.ssh_tunnel or cluster.setup or in_images:
        return
    finds = "import sys; from importlib.util import find_spec; sys.exit(find_spec('d2plm_megatron') is None)"
    if shell.run(cluster, f"cd {shlex.quote(cluster.folder or '.')} && {PYTHON} -c {shlex.quote(finds)}").returncode:
        activate = Path(sys.prefix) / "bin" / "activate"
        advice = f"setup: source {activate}" if activate.exists() else "setup: source .../activate"
        raise ValueError(
            f"setup: jobs would not find the package by `{PYTHON}`; write {advice} into the cluster's file"
        )


def _check_mounted(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """That containers see the files that commands name."""
    inside = [cluster.folder or str(Path.cwd()), *(mount.split(":")[1] for mount in cluster.mounts)]
    for task in tasks:
        if cluster.image(task.kind) is None:
            continue
        for path in (path for word in task.command for path in re.findall(r"(?:^|[= ])(/[^ :]+)", word)):
            if not any(Path(path).is_relative_to(folder) for folder in inside):
                raise ValueError(f"{path}: no mount brings it into the container; add FROM:TO to mounts")
