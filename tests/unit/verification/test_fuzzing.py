"""The judge of the fuzz can fail: readers that do what none may are each found out."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import lmdb
import pytest

from verification.fuzzing import cell, damage
from verification.fuzzing.attack import Attack
from verification.fuzzing.trial import ACCEPTED, FAILED, REFUSED, Case, Prepared, made

FILE = "file"


def make(folder: Path) -> None:
    (folder / FILE).write_text("valid")


def tamper(folder: Path, chance: Random) -> None:
    (folder / FILE).write_text("damaged")


@pytest.fixture
def case(tmp_path: Path) -> Callable[[Callable[[Path], Any]], Case]:
    """What becomes of a damaged file that is read like this; what is valid is read as it should be."""

    def judged(read: Callable[[Path], Any]) -> Case:
        def reader(folder: Path) -> Any:
            return "valid" if (folder / FILE).read_text() == "valid" else read(folder)

        attack = Attack("it", make, tamper, (reader,))
        box = tmp_path / "cells" / "box"
        return Prepared(attack, made(make, tmp_path / "valid"), box).case(7, box)

    return judged


def says(text: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        print(text.format(folder), file=sys.stderr)
        return "valid"

    return read


def refuses(error: type[BaseException], text: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        raise error(text.format(folder) if isinstance(text, str) else text)

    return read


def runs_pickle(folder: Path) -> Any:
    for protocol in range(3):
        pickle.loads(pickle.dumps(damage._PAYLOADS[protocol], protocol))


def writes_beside(folder: Path) -> Any:
    """As a library does that is not written in Python, which the audit hook does not see."""
    lmdb.open(str(folder.parents[1] / "outside" / "new"), subdir=False).close()
    return "valid"


def kills_itself(folder: Path) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory(folder: Path) -> Any:
    return len(bytearray(cell.MEMORY_BYTES + (1 << 30)))


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda folder: "other", "other data in silence"),
        (lambda folder: None, "other data in silence"),
        (refuses(KeyError, "step"), "KeyError: 'step'"),
        (refuses(ZeroDivisionError, "no"), "ZeroDivisionError: no (test_fuzzing.py, line"),
        (refuses(RecursionError, "no"), "RecursionError"),
        (refuses(SystemExit, 3), "exit code 3"),
        (refuses(ValueError, "invalid literal"), "names no file"),
        (lambda folder: os._exit(0), "ended the process"),
        (kills_itself, "died of SIGSEGV"),
        (takes_memory, "MemoryError"),
        (runs_pickle, "unpickled: "),
        (lambda folder: os.system("true"), "ran a program"),
        (lambda folder: subprocess.run(["true"], check=False), "ran a program"),
        (lambda folder: exec(f"{cell.MARK} = 1"), "ran code"),
        (lambda folder: (folder.parents[1] / "outside" / "new").write_text(""), "wrote outside its folder: open"),
        (lambda folder: (folder.parents[1] / "outside" / "precious.txt").unlink(), "outside its folder: os.remove"),
        (writes_beside, "what lies outside its folder has changed"),
        (says("numpy.py:3: RuntimeWarning: overflow"), "RuntimeWarning"),
        (says("note: \x1b[31mred"), "said 'note: \\x1b[31mred'"),
        (says("Traceback (most recent call last):"), "said 'Traceback"),
        (says(f"note: {'x' * 2_000}"), "said 'note: xxx"),
    ],
)
def test_what_no_reader_may_do_is_a_failure(case: Callable[..., Case], read: Callable[[Path], Any], why: str) -> None:
    found = case(read)
    assert (found.outcome, found.seed) == (FAILED, 7), found
    assert why in found.why, found


def test_hang_is_a_failure(tmp_path: Path) -> None:
    begun = time.monotonic()
    (tmp_path / "box").mkdir()
    answer = cell.confined(lambda: time.sleep(60), tmp_path / "box", seconds=1)
    assert answer.died == "hung for 1 s"
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_clear_error_is_a_refusal(case: Callable[..., Case], error: type[Exception]) -> None:
    assert case(refuses(error, "{}/file: damaged; make it again")).outcome == REFUSED


def test_equal_data_with_a_note_are_accepted(case: Callable[..., Case]) -> None:
    assert case(says("note: {}/file: damaged; it is not used")).outcome == ACCEPTED


def test_same_seed_does_the_same_damage() -> None:
    data = bytes(range(200))
    values = {"a": [1, 2, {"b": "text"}], "c": None}
    for seed in range(200):
        assert damage.changed(data, Random(seed)) == damage.changed(data, Random(seed))
        assert repr(damage.changed_json(values, Random(seed))) == repr(damage.changed_json(values, Random(seed)))
    assert len({damage.changed(data, Random(seed)) for seed in range(200)}) > 180
    assert values == {"a": [1, 2, {"b": "text"}], "c": None}
