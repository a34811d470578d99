"""Follows tasks that were submitted: their logs onto the screen, and what became of each."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from threading import Event, Thread
from types import FrameType

from .scripts import EXIT_CODE, PROCESS

POLL_SECONDS = 3.0
MOST_POLLS_UNKNOWN = 200
"""How often in a row nothing may be heard of a job, ten minutes: Slurm restarts in less."""
LINES_OF_A_FAILURE = 20
LARGEST_PIECE_BYTES = 1 << 20

SUCCEEDED = "COMPLETED"
ENDED = {SUCCEEDED, "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"} | {
    *("BOOT_FAIL", "DEADLINE", "REVOKED")
}
"""Slurm's words for what became of a job."""

Run = Callable[[str], str]
"""Runs a line of bash where the tasks are known, and returns what it printed."""


@dataclass
class Followed:
    """A task that was submitted.

    Attributes:
        name: of the task.
        logs: pattern of its log files, as bash reads it, where they are; those of later attempts sort last.
        job: number of its job; "" where nobody queues it.
        state: what Slurm says of it, and why it waits.
        shown: bytes of each of its logs that were printed.
    """

    name: str
    logs: str
    job: str = ""
    state: str = "PENDING"
    shown: dict[str, int] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ENDED


def until_ended(tasks: Sequence[Followed], run: Run) -> None:
    """Waits for jobs of Slurm and prints their logs meanwhile. Their state tells in the end what became of them.

    A job that was pre-empted may be seen as ended before it is queued again: an end counts when it is seen twice.
    Raises ValueError naming a task of which Slurm knows nothing any more, and neither does accounting.
    """
    seen: dict[str, str] = {}
    unheard: dict[str, int] = {}
    while True:
        states = states_of([task.job for task in tasks], run)
        show_logs(tasks, run)
        unheard = {task.job: unheard.get(task.job, 0) + 1 for task in tasks if task.job not in states}
        _check_heard_of(tasks, unheard)
        for task in tasks:
            _say_change(task.name, task.state, states.get(task.job, task.state))
            task.state = states.get(task.job, task.state)
        if all(task.has_ended and seen.get(task.job) == task.state for task in tasks):
            return
        seen = {task.job: task.state for task in tasks}
        time.sleep(POLL_SECONDS)


def _check_heard_of(tasks: Sequence[Followed], unheard: dict[str, int]) -> None:
    """Raises ValueError naming a task that has not ended and of whose job too many polls in a row heard nothing."""
    for task in tasks:
        if not task.has_ended and unheard.get(task.job, 0) >= MOST_POLLS_UNKNOWN:
            raise ValueError(
                f"{task.name}: neither squeue nor sacct knows job {task.job} any more, which was {task.state.lower()} "
                f"when last heard of; its logs tell how it ended: {task.logs}"
            )


def states_of(jobs: Sequence[str], run: Run) -> dict[str, str]:
    """What Slurm says of jobs: of those that it has forgotten, what accounting remembers."""
    ids = ",".join(jobs)
    lines = run(f"squeue --noheader --states=all --format='%i|%T' --jobs={ids} 2>/dev/null || true").splitlines()
    states = dict(line.split("|", 1) for line in lines if "|" in line)
    if missing := [job for job in jobs if job not in states]:
        found = run(f"sacct -X -n -P --format=jobid,state --jobs={','.join(missing)} 2>/dev/null || true").splitlines()
        states |= {job: state.split()[0] for job, state in (line.split("|", 1) for line in found if "|" in line)}
    return states


def show_logs(tasks: Sequence[Followed], run: Run) -> None:
    """Prints what was added to the logs, whole lines, with the name of the task before each."""
    for task in tasks:
        for log in run(f"ls -1 {task.logs} 2>/dev/null || true").split("\n"):
            if not log:
                continue
            begin = task.shown.get(log, 0)
            text = run(f"tail -c +{begin + 1} {quote(log)} | head -c {LARGEST_PIECE_BYTES}")
            whole = text[: text.rfind("\n") + 1]
            task.shown[log] = begin + len(whole.encode())
            for line in whole.splitlines():
                print(f"{task.name} | {line}", flush=True)


@contextmanager
def logs_shown(tasks: Sequence[Followed], run: Run) -> Iterator[None]:
    """Prints what is added to the logs as long as the block runs."""
    ended = Event()

    def follow() -> None:
        while not ended.wait(POLL_SECONDS / 3):
            show_logs(tasks, run)

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        show_logs(tasks, run)


@contextmanager
def ends_handed_on(folders: Sequence[Path]) -> Iterator[list[int]]:
    """Hands Ctrl-C and SIGTERM on to tasks on this machine, which save; yields the signals that have come.

    nemo_run would go on waiting for them.

    Args:
        folders: of the tasks.
    """
    came: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        print("ending the tasks, which save", flush=True)
        came.append(number)
        for folder in folders:
            with suppress(OSError, ValueError):
                if not (folder / EXIT_CODE).exists():  # else its number may be another's by now
                    os.killpg(int((folder / PROCESS).read_text()), signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_of_log(task: Followed, run: Run) -> str:
    """The last lines that a task has written; "" where it wrote none."""
    return run(f"cat $(ls -1 {task.logs} 2>/dev/null | tail -n 1) /dev/null | tail -n {LINES_OF_A_FAILURE}").rstrip()


def exit_code_of(file: Path) -> int | None:
    """With which a task ended on this machine, as its script has left it; None where it did not begin or was killed."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _say_change(name: str, before: str, now: str) -> None:
    if now != before:
        print(f"{name}: {now.lower()}", flush=True)
