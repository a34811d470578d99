"""Files of work that goes on after a kill, with their checksums beside: one that is not as written is made anew."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from d2plm_megatron.files import atomic


@contextmanager
def finishing(path: Path) -> Iterator[Path]:
    """A temporary path for the contents of `path`, which appears with its checksum when the block ends well."""
    with atomic(path, _sum_of(path)) as (temporary, temporary_sum):
        yield temporary
        temporary_sum.write_text(checksum(temporary), encoding="utf-8")


def is_finished(path: Path) -> bool:
    """Whether a file is there as `finishing` left it; reads all of it."""
    sum_path = _sum_of(path)
    if not (path.is_file() and sum_path.is_file()):  # a pipe would be waited for
        return False
    return sum_path.read_bytes() == checksum(path).encode()


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def discard(path: Path) -> None:
    """Removes a file that has been finished, so that it is made anew."""
    for each in (_sum_of(path), path):
        each.unlink(missing_ok=True)


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
