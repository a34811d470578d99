"""What tests ask of a Slurm that is up."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
"""States after which a job stays as it is, unless somebody requeues it."""

PATIENCE = 300.0
"""Seconds that anything may take, on a machine that has much else to do."""


@dataclass(frozen=True)
class Slurm:
    """A cluster whose partitions are `main`, whose jobs those of `urgent` pre-empt, and `closed`, which is down.

    Attributes:
        folder: of all that its daemons write.
    """

    folder: Path

    @property
    def conf(self) -> Path:
        """The file that Slurm's commands read."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """For commands that are to meet this cluster, with this Python's programs first in PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "SLURM_CONF": str(self.conf), "PATH": path}

    def run(self, *command: str) -> str:
        """What a command writes to stdout. Raises CalledProcessError when it fails."""
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise
        return done.stdout.strip()

    def sbatch(self, *arguments: str) -> str:
        """Submits a job; its id."""
        return self.run("sbatch", "--parsable", *arguments)

    def states(self, job: str) -> list[str]:
        """The state in which each attempt ended or is, as accounting has them; [] as long as it has none."""
        lines = self.run("sacct", "--duplicates", "-X", "--noheader", "-P", "--format=State", f"--jobs={job}")
        return [line.split()[0] for line in lines.splitlines()]

    def field(self, job: str, name: str) -> str:
        """What `scontrol show job` says of a job under a name such as JobState, Restarts or BatchFlag."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)[name]

    def wait(self, job: str, *states: str) -> str:
        """Until the job's state is one of these, or it has ended; the state."""
        wait_until(
            lambda: self.field(job, "JobState") in {*states, *ENDED}, f"job {job}: {' or '.join(states)} or ended"
        )
        return self.field(job, "JobState")

    def ended(self, job: str) -> list[str]:
        """Waits for the end of a job and for accounting to know of it; the states of all attempts."""
        last = self.wait(job)
        wait_until(lambda: self.states(job)[-1:] == [last], f"job {job}: {last} in accounting")
        return self.states(job)

    def update(self, job: str, **fields: object) -> None:
        """Changes what Slurm knows of a job."""
        self.run("scontrol", "update", f"JobId={job}", *(f"{key}={value}" for key, value in fields.items()))

    def starts_again(self, job: str, **fields: object) -> None:
        """Waits until a job is back in the queue, changes it, and spares it most of the time that Slurm lets pass.

        Nodes refuse what begins in the second in which they ended the attempt before it.
        """
        assert self.wait(job, "PENDING") == "PENDING"
        self.update(job, StartTime="now+3", **fields)


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Raises TimeoutError when it does not."""
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE:.0f} seconds")
        time.sleep(0.2)
