"""What an attack is: something valid, how a case damages a copy of it, who reads the copy, and what they may find."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

Reader = Callable[[Path], Any]
"""Reads a folder as a command would; returns what it found, for JSON."""


class Valid(NamedTuple):
    """What was damaged: `folder`, as it was made, and what the same reader `found` in it."""

    folder: Path
    found: Any


class Reading(NamedTuple):
    """What a reader `found` in a damaged folder, and what it `said` to the user on stderr."""

    folder: Path
    found: Any
    said: str


Judge = Callable[[Valid, Reading], str | None]
"""What is wrong with a reading that raised nothing, in words; None where nothing is."""


def is_equal(valid: Valid, reading: Reading) -> str | None:
    """What was read is what was there before the damage."""
    return None if reading.found == valid.found else f"read other data in silence: {str(reading.found)[:300]}"


def is_anything(valid: Valid, reading: Reading) -> str | None:
    """Whoever damages it may say what is read, as where checksums were made anew: it must end well, and no more."""
    return None


@dataclass(frozen=True)
class Attack:
    """A class of attacks.

    Attributes:
        name: of the class.
        make: writes something valid into a folder; once for all attacks that share it.
        tamper: damages a copy of it, by chance.
        readers: of which chance picks one.
        judge: of what the reader found.
    """

    name: str
    make: Callable[[Path], None]
    tamper: Callable[[Path, Random], None]
    readers: tuple[Reader, ...]
    judge: Judge = is_equal
