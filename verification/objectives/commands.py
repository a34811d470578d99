"""Commands of the package, as users call them, each in a process of its own on one core."""

import os
import subprocess
import sys
from typing import Any


def call(module: str, *words: Any) -> str:
    """Runs a module with these words, and returns what it prints. Raises ValueError with the end of what went wrong."""
    command = [sys.executable, "-m", module, *map(str, words)]
    one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_core, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["nothing was printed"]
        raise ValueError(f"{' '.join(command[1:])}: exit code {done.returncode}: {lines[-1]}")
    return done.stdout
