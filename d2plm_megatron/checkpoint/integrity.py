"""Whether the files of a checkpoint are what was written: their sizes and checksums."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Files = dict[str, dict[str, Any]]
"""By name: "bytes", and "blake2b" in hexadecimal."""

OWN = "state.json"
"""Holds the others' checksums and has none itself."""


class Damaged(ValueError):
    """A checkpoint is not what was written, so that the one before it is worth a try."""


def describe(paths: Iterable[Path]) -> Files:
    """Reads the files and says what they are."""
    return {path.name: {"bytes": path.stat().st_size, "blake2b": _checksum(path)} for path in paths}


def sizes_differ(folder: Path, files: Files) -> list[str]:
    """What is wrong at first sight, in words: files that are missing or of another size."""
    wrong = []
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != expected["bytes"]:
            wrong.append(f"{name} has {path.stat().st_size:,} bytes, not {expected['bytes']:,}")
    return wrong


def contents_differ(folder: Path, files: Files, advance: Callable[[int], object] = lambda size: None) -> list[str]:
    """What is wrong when the files are read, in words; `advance` is called with the bytes of each."""
    wrong = []
    for name, expected in files.items():
        if _checksum(folder / name) != expected["blake2b"]:
            wrong.append(f"{name} has changed")
        advance(expected["bytes"])
    return wrong


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
