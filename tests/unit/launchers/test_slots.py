"""The queue on one machine: never more than N at a time, whatever becomes of each, and never stuck."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from launchers import slots

COMMAND = """
import os, sys, time
from pathlib import Path
events, name, code, others = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def tell(what):
    with events.open("a") as file:
        file.write(f"{what} {name} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\\n")
tell("begin")
while events.read_text().count("begin") < others:
    time.sleep(0.02)
tell("end")
sys.exit(code)
"""
"""Tells when it begins and ends, and waits between until so many have begun."""


def start(folder: Path, number: int, *words: object, gpus: int = 0, **environment: str) -> subprocess.Popen[bytes]:
    queue = [sys.executable, slots.__file__, str(folder / "slots"), str(number), str(gpus)]
    command = [sys.executable, "-c", COMMAND, str(folder / "events"), *map(str, words)]
    return subprocess.Popen([*queue, *command], env={**os.environ, **environment})


def most_at_once(events: Sequence[str]) -> int:
    running, most = 0, 0
    for event in events:
        running += 1 if event.startswith("begin") else -1
        most = max(most, running)
    return most


def test_no_more_than_n_run_and_a_failure_stops_nobody(tmp_path: Path) -> None:
    codes = [0, 3, 0, 75, 0]
    waiting = [start(tmp_path, 2, name, code, 2) for name, code in enumerate(codes)]
    assert [process.wait(timeout=60) for process in waiting] == codes
    events = (tmp_path / "events").read_text().splitlines()
    assert len(events) == 10 and most_at_once(events) == 2


def test_a_killed_command_lets_go_of_its_slot(tmp_path: Path) -> None:
    first = start(tmp_path, 1, "first", 0, 1000)
    while not (tmp_path / "events").exists():
        assert first.poll() is None
    second = start(tmp_path, 1, "second", 0, 0)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=1)
    first.send_signal(signal.SIGKILL)
    assert first.wait(timeout=60) == -signal.SIGKILL and second.wait(timeout=60) == 0


def test_slots_have_gpus_of_their_own(tmp_path: Path) -> None:
    waiting = [start(tmp_path, 2, name, 0, 2, gpus=2, CUDA_VISIBLE_DEVICES="7,5,3,1") for name in range(2)]
    assert [process.wait(timeout=60) for process in waiting] == [0, 0]
    assert {line.split()[2] for line in (tmp_path / "events").read_text().splitlines()} == {"7,5", "3,1"}
    assert slots.gpus_of(1, 4, None) == "4,5,6,7"
    with pytest.raises(SystemExit, match="lower --at-once"):
        slots.gpus_of(1, 4, "0,1,2,3,4,5,6")
