"""What tests ask of a Slurm that is up."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
"""States after which a job stays as it is, unless somebody requeues it."""


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
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
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

    def wait(self, job: str, *states: str, timeout: float = 120) -> str:
        """Until the job's state is one of these, or it has ended; the state. Raises TimeoutError."""
        end = time.monotonic() + timeout
        while (state := self.field(job, "JobState")) not in {*states, *ENDED}:
            if time.monotonic() > end:
                raise TimeoutError(f"job {job} is {state} after {timeout:.0f} seconds, not {' or '.join(states)}")
            time.sleep(0.2)
        return state

    def ended(self, job: str, timeout: float = 120) -> list[str]:
        """Waits for the end of a job and for accounting to know of it; the states of all attempts."""
        last = self.wait(job, timeout=timeout)
        end = time.monotonic() + 30
        while (states := self.states(job))[-1:] != [last] and time.monotonic() < end:
            time.sleep(0.2)
        return states
