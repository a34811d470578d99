"""The queue of a sweep on one machine: a command waits until one of N slots is free, and holds it as long as it runs.

python slots.py FOLDER N GPUS COMMAND ...

A slot is a file that is locked. The system lets go of it when the command ends, however it does, so that no queue is
ever stuck. The standard library alone is needed, and no other file of the package.
"""

import fcntl
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.2
VISIBLE = "CUDA_VISIBLE_DEVICES"


def take(folder: Path, number: int) -> tuple[int, IO[str]]:
    """Waits for one of so many slots; returns which it is, counted from 0, and its file, by which it is held."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [(folder / f"slot-{slot}").open("a") for slot in range(number)]
    while True:
        for slot, file in enumerate(files):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot, file
        time.sleep(POLL_SECONDS)


def gpus_of(slot: int, gpus: int, visible: str | None) -> str:
    """The GPUs of a slot, as CUDA_VISIBLE_DEVICES lists them, out of those that are visible; None: all of them are."""
    wanted = range(slot * gpus, (slot + 1) * gpus)
    if visible is None:
        return ",".join(map(str, wanted))
    devices = visible.split(",")
    if wanted.stop > len(devices):
        raise SystemExit(f"error: slot {slot} needs GPUs {list(wanted)}, and {VISIBLE}={visible}: lower --at-once")
    return ",".join(devices[gpu] for gpu in wanted)


def main() -> None:
    """Reads the command line, waits, and becomes the command."""
    folder, number, gpus, *command = sys.argv[1:]
    slot, file = take(Path(folder), int(number))
    os.set_inheritable(file.fileno(), True)
    if int(gpus):
        os.environ[VISIBLE] = gpus_of(slot, int(gpus), os.environ.get(VISIBLE))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
