"""Trials: many cases of an attack, each damaged by a seed of its own, read in a cell, and judged."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from d2plm_megatron.console import errors_as_one_line
from verification.fuzzing.attack import Attack, Reader, Reading, Valid
from verification.fuzzing.cell import confined, said

REFUSED, ACCEPTED, FAILED = "refused", "accepted", "failed"
PRECIOUS = {"precious.txt": "not to be touched", "folder/precious.txt": "nor this"}
"""What lies outside the case, in ../outside, for links and names to lead to."""

_LONGEST_LINE = 1_800
_LINE = re.compile(r"(error|note): [^\x00-\x1f\x7f-\x9f]+")
_PLACE = re.compile(r"--[a-z]|[a-z0-9_.+~]+=|: no such key|\.bin is missing|\b(https?|file)://")


@dataclass(frozen=True)
class Case:
    """One case and what became of it.

    Attributes:
        attack: its name.
        seed: that repeats it.
        outcome: REFUSED clearly, ACCEPTED with data as they should be, or FAILED.
        why: it failed, in words.
    """

    attack: str
    seed: int
    outcome: str
    why: str = ""


class Prepared:
    """An attack made ready: what is valid, and what each of its readers finds in it.

    Raises RuntimeError when a reader does not find anything in what is valid.
    """

    def __init__(self, attack: Attack, valid: Path, box: Path) -> None:
        self.attack, self.valid = attack, valid
        self.found = {reader: self._read(reader, box) for reader in attack.readers}

    def _read(self, reader: Reader, box: Path) -> Any:
        folder = _furnish(box, self.valid)
        answer = confined(lambda: reader(folder), box)
        if answer.died:
            raise RuntimeError(f"{self.attack.name}: what is valid cannot be read: {answer.died}")
        return answer.returned

    def case(self, seed: int, box: Path) -> Case:
        """Damages a copy in the box, an empty or former one, has it read, and judges."""
        folder, chance = _furnish(box, self.valid), Random(f"{self.attack.name} {seed}")
        self.attack.tamper(folder, chance)
        reader = chance.choice(self.attack.readers)
        answer = confined(lambda: self._judged(reader, folder, box), box)
        outcome, why = (FAILED, answer.died) if answer.died else answer.returned
        if outcome != FAILED and not _is_furnished(box):
            outcome, why = FAILED, "what lies outside its folder has changed"
        return Case(self.attack.name, seed, outcome, why)

    def _judged(self, reader: Reader, folder: Path, box: Path) -> tuple[str, str]:
        """(outcome, why)."""
        try:
            with errors_as_one_line():
                found = json.loads(json.dumps(reader(folder)))
        except SystemExit as end:
            wrong = unclear(said(box), folder) if end.code == 2 else f"ended with exit code {end.code}"
            return (FAILED, wrong) if wrong else (REFUSED, "")
        words = said(box)
        wrong = chatter(words) or self.attack.judge(
            Valid(self.valid, self.found[reader]), Reading(folder, found, words)
        )
        return (FAILED, wrong) if wrong else (ACCEPTED, "")


def unclear(words: str, folder: Path) -> str | None:
    """What is wrong with the words on stderr of a command that refuses; None if they are clear.

    Clear are notes, and at the end one error that names a file of the case, a key, an option or an address.
    """
    if wrong := chatter(words):
        return wrong
    *notes, last = words.splitlines() or [""]
    if not last.startswith("error: ") or any(note.startswith("error: ") for note in notes):
        return f"not one error: {words[:500]!r}"
    if not any(path.name in last for path in (folder, *folder.iterdir())) and not _PLACE.search(last):
        return f"names no file, key, option or address: {last[:500]!r}"
    return None


def chatter(words: str) -> str | None:
    """What is wrong with words on stderr that are more than notes and errors, a printable line each."""
    wrong = next((line for line in words.splitlines() if not _LINE.fullmatch(line) or len(line) > _LONGEST_LINE), None)
    return None if wrong is None else f"said {wrong[:300]!r}"


def made(make: Callable[[Path], None], folder: Path) -> Path:
    """Makes something valid in a process of its own, which may leave threads behind; returns its folder."""
    folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        try:
            make(folder)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{make.__name__} failed")
    return folder


def _furnish(box: Path, valid: Path) -> Path:
    """Empties a box and puts into it a copy of what is valid, and what must not be touched; returns the copy."""
    for old in (box, box.parent / "outside"):
        shutil.rmtree(old, ignore_errors=True)
    for name, text in PRECIOUS.items():
        path = box.parent / "outside" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    box.mkdir(parents=True)
    return Path(shutil.copytree(valid, box / "case", symlinks=True))


def _is_furnished(box: Path) -> bool:
    outside = box.parent / "outside"
    found = {str(path.relative_to(outside)): path for path in outside.rglob("*") if not path.is_dir()}
    return found.keys() == PRECIOUS.keys() and all(
        path.read_text(encoding="utf-8") == PRECIOUS[name] for name, path in found.items()
    )
