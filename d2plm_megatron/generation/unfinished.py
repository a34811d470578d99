"""Proteins that are done, on the disk while others are still to come, so that a command that was killed can go on.

.NAME.unfinished        FASTA in order, two lines for each protein; becomes NAME when all are there
.NAME.unfinished.json   what was asked for: another request does not go on with it
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from d2plm_megatron.files import atomic, publish
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.runs.requested import differences, write_request

Record = tuple[str, str]
"""Header without '>', and letters."""


@dataclass(frozen=True)
class Unfinished:
    """What there is of an output that is being written.

    Args:
        output: the FASTA file that it becomes.
        request: all that decides what is in it, as JSON.
    """

    output: Path
    request: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where the proteins are until all are done."""
        return self.output.with_name(f".{self.output.name}.unfinished")

    @property
    def told(self) -> Path:
        """Where it is written what they are."""
        return self.output.with_name(f"{self.path.name}.json")

    def differ(self) -> str:
        """How the request differs from that of the proteins that are there; nothing where it does not."""
        return differences(self.told, self.request) if self.path.exists() else ""

    def records(self) -> Iterator[Record]:
        """The proteins that are there as a whole, in order."""
        if not self.path.exists() or not self.told.exists() or self.differ():
            return
        with self.path.open("rb") as file:
            for header, letters in zip(file, file, strict=False):
                record = header.decode("utf-8", "replace"), letters.decode("utf-8", "replace")
                if not record[0].startswith(">") or set(record[1]) - set(CANONICAL_LETTERS) != {"\n"}:
                    return
                yield record[0][1:-1], record[1][:-1]

    @contextmanager
    def opened(self, kept: int) -> Iterator["Writer"]:
        """Keeps so many proteins, and yields a writer of more. Raises ValueError when another process writes here."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            _lock(file, self.path)
            file.truncate(sum(len(_bytes(record)) for record in islice(self.records(), kept)))
            write_request(self.told, self.request)
            yield Writer(file)

    def publish(self, order: Callable[[Record], Any] | None = None) -> None:
        """Gives the proteins their final name, in the order of what `order` makes of each where that is given."""
        if order is not None:
            ranked = sorted(self.records(), key=order)
            with atomic(self.path) as (temporary,):
                temporary.write_bytes(b"".join(map(_bytes, ranked)))
        publish([(self.path, self.output)])
        self.told.unlink(missing_ok=True)


@dataclass(frozen=True)
class Writer:
    """Appends proteins; they are on the disk when `add` returns."""

    file: IO[bytes]

    def add(self, records: Iterable[Record]) -> None:
        """Writes proteins."""
        self.file.write(b"".join(map(_bytes, records)))
        self.file.flush()
        os.fsync(self.file.fileno())


def _bytes(record: Record) -> bytes:
    header, letters = record
    return f">{header}\n{letters}\n".encode()


def _lock(file: IO[bytes], path: Path) -> None:
    """Keeps other processes out for as long as the file is open. A file system without locks is trusted."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path}: being written by another process; name another --output") from None
    except OSError:
        return
