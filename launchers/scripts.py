"""The bash that runs a task, for srun or on this machine, and what the batch script around it does in the end.

Words are quoted here and nowhere else.
"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from d2plm_megatron.parallel.launched import FIRST_PORT, NUM_PORTS
from d2plm_megatron.parallel.preemption import SAVED_AND_STOPPED

from . import slots
from .cluster import Cluster
from .tasks import PYTHON, Task

USERS_FAULT = 2
"""Exit code of what a user has to mend, which no second try does."""

BEFORE_IT_LISTENED = "138|143"
"""Exit codes of what USR1 or TERM ended in its first second, before anything was begun."""

SAVING_SECONDS = 300
"""How long all processes may take to save once one of them has ended."""

PROCESS, EXIT_CODE = "process", "exit_code"
"""Files in the folder of a task on this machine: the number of its process group, and how it has ended."""

PLAIN_TEXT = "export TERM=dumb"
"""nemo_run asks srun for lines at once, which gives each task a terminal, and logs would have its colours."""


def of_process(task: Task, cluster: Cluster, launcher: str, folder: Path | None) -> str:
    """What srun starts for each process, or torchrun's parent on each node.

    Args:
        task: to run.
        cluster: whose variables are set.
        launcher: srun or torchrun.
        folder: to run in; None for that of the task itself.
    """
    command = shlex.join(task.command)
    if launcher == "torchrun" and task.resources.num_processes > 1:
        command = _interruptible(_under_torchrun(task))
    else:
        command = f"exec {command}"
    return "\n".join([PLAIN_TEXT, *_exports(task, cluster), *_into(folder), command, ""])


def on_this_machine(task: Task, cluster: Cluster, folder: Path, at_once: int | None = None) -> str:
    """What runs a task here, with torchrun where it has several processes.

    What comes after a task that failed does not begin; nemo_run alone would start it. Of all tasks of an experiment no
    more than `at_once` run at a time; the others wait for a slot.
    """
    words = f"{shlex.quote(sys.executable)} "
    if (processes := task.resources.processes_per_node) > 1:
        words += f"-m torch.distributed.run --standalone --nproc-per-node {processes} "
    words += shlex.join(task.command[1:])
    if at_once is not None:
        slot = shlex.join([sys.executable, slots.__file__])
        words = f'{slot} "$here/../slots" {at_once} {task.resources.gpus_per_node} {words}'
    lines = [*_exports(task, cluster), *_into(folder), cluster.setup, *_without_gpus(task), 'here=$(dirname "$0")/..']
    lines.append(f'echo $$ > "$here/{PROCESS}"')
    for before in task.after:
        code = f'"$(cat "$here/../"{shlex.quote(before)}/{EXIT_CODE} 2>/dev/null)"'
        lines.append(f"[ {code} = 0 ] || {{ echo {shlex.quote(f'not run: {before} did not succeed')}; exit 1; }}")
    end = f'code=$?\necho $code > "$here/{EXIT_CODE}"\nexit $code\n'
    return "\n".join([*filter(None, lines), "trap : TERM INT USR1", words, end])


def of_batch(cluster: Cluster, launcher: str, folder: str) -> str:
    """Lines for the batch script, before the task: the cluster's own, and what becomes of the job in the end.

    What was interrupted and saved is queued again, always; what crashed `retries` times; what a user has to mend never.
    nemo_run's own retries count all three.

    Args:
        cluster: that the job runs on.
        launcher: srun or torchrun, which is told where its processes meet.
        folder: of the experiment, as the nodes see it.
    """
    meeting = (
        'export MASTER_ADDR=$(getent hosts "$head_node" > /dev/null && echo "$head_node" || echo "${head_node_ip%% *}")'
        f" MASTER_PORT=$(({FIRST_PORT} + SLURM_JOB_ID % {NUM_PORTS}))"
    )
    finish = f"""finish() {{
  local code=${{exitcode:-0}} crashes={shlex.quote(folder)}/crashes-$SLURM_JOB_ID
  case $code in
    0|{USERS_FAULT}) return ;;
    {SAVED_AND_STOPPED}|{BEFORE_IT_LISTENED}) ;;
    *) echo "$code" >> "$crashes"; [ "$(wc -l < "$crashes")" -le {cluster.retries} ] || return ;;
  esac
  scontrol requeue "$SLURM_JOB_ID"
}}
trap finish EXIT"""
    return "\n".join(filter(None, [meeting if launcher == "torchrun" else "", finish, cluster.setup]))


def _interruptible(torchrun: str) -> str:
    """torchrun, ended by Slurm's signals in good order and with the exit code of what was saved.

    It has a code of its own, and dies of USR1. Slurm signals this shell alone, or torchrun, too, as the cluster is set
    up, and perhaps twice. So torchrun is deaf to all but INT, of which it is sent one: a second would end its wait for
    the processes to save.
    """
    return f"""(trap '' TERM USR1; exec {torchrun}) & child=$!
trap 'trap "" TERM USR1; asked=1; kill -INT $child' TERM USR1
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
[ -n "$asked" ] && [ $code -ne 0 ] && code={SAVED_AND_STOPPED}
exit $code"""


def _under_torchrun(task: Task) -> str:
    resources = task.resources
    assert task.command[0] == PYTHON
    if resources.nodes > 1:
        meeting = '--nnodes "$SLURM_NNODES" --node-rank "$SLURM_NODEID" --rdzv-backend c10d '
        meeting += '--rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$MASTER_ADDR:$MASTER_PORT"'
    else:
        meeting = "--standalone"
    return (
        f"{PYTHON} -m torch.distributed.run {meeting} --nproc-per-node {resources.processes_per_node} "
        f"--signals-to-handle SIGINT --shutdown-timeout {SAVING_SECONDS} {shlex.join(task.command[1:])}"
    )


def _exports(task: Task, cluster: Cluster) -> Iterator[str]:
    """Variables with their values; those that are named alone come with the environment itself."""
    texts = dict(text.split("=", 1) for text in cluster.env_vars if "=" in text)
    for name, value in (texts | dict(task.environment)).items():
        yield f"export {name}={shlex.quote(value)}"


def _without_gpus(task: Task) -> Iterator[str]:
    if task.resources.gpus_per_node == 0:
        yield "export CUDA_VISIBLE_DEVICES="


def _into(folder: Path | None) -> Iterator[str]:
    if folder is not None:
        yield f"cd {shlex.quote(str(folder))} || exit {USERS_FAULT}"
