"""The cores of this machine that there are to work with."""

import os


def available_cores() -> int:
    """How many cores this process may use; all of the machine where the system does not tell, as macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
