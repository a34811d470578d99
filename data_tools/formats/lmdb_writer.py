"""Writes databases of proteins as described in proteins_lmdb.py."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

_FIRST_MAP_BYTES = 1 << 26
_RECORDS_AT_ONCE = 10_000
_MAPPED_BYTES = 1 << 27


def to_value(name: str, sequence: str, part: tuple[int, int] | None = None) -> bytes:
    """The value of a record. `part` is (i, n) for chunk i, from 1, of the n chunks of a protein, else None."""
    fields: dict[str, Any] = {"sequence": sequence, "id": name}
    if part:
        fields["part"] = part
    return json.dumps(fields).encode()


class LmdbWriter:
    """Writes a new database, record by record: `with LmdbWriter(path) as writer: writer.add(name, sequence)`.

    The database grows as needed. It is complete only after the block has ended without an error, so give it the
    temporary name of files.atomic. Raises OSError naming the folder when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[bytes, bytes]] = []
        self.num_records = 0

    def __enter__(self) -> Self:
        # Nobody else knows of the file, and a crash leaves it unused: no lock and no flush to disk at each commit.
        self._open(_FIRST_MAP_BYTES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._env.close()

    def add(self, name: str, sequence: str) -> None:
        """Appends a protein under the next number."""
        self.add_values([to_value(name, sequence)])

    def add_values(self, values: Iterable[bytes]) -> None:
        """Appends records, made by to_value, under the next numbers."""
        for value in values:
            self._waiting.append((b"%d" % self.num_records, value))
            self.num_records += 1
            if len(self._waiting) == _RECORDS_AT_ONCE:
                self._commit()

    def _open(self, map_bytes: int) -> None:
        with self._system_errors():
            self._env = lmdb.open(str(self._path), subdir=False, lock=False, sync=False, map_size=map_bytes)
        self._mapped = 0

    def _commit(self) -> None:
        while self._waiting:
            try:
                with self._system_errors(), self._env.begin(write=True) as transaction:
                    transaction.cursor().putmulti(self._waiting)
            except lmdb.MapFullError:
                self._reopen(2 * self._env.info()["map_size"])
                continue
            self._mapped += sum(len(value) for _, value in self._waiting)
            self._waiting.clear()
            if self._mapped > _MAPPED_BYTES:  # pages once touched stay in memory until the map is closed
                self._reopen(self._env.info()["map_size"])

    def _reopen(self, map_bytes: int) -> None:
        self._env.close()
        self._open(map_bytes)

    @contextmanager
    def _system_errors(self) -> Iterator[None]:
        """Turns an error of LMDB into an OSError naming the folder. A full disk that cuts a write is EIO to LMDB."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            folder = self._path.parent
            if shutil.disk_usage(folder).free < sum(len(value) for _, value in self._waiting):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise OSError(f"{folder}: LMDB cannot write here ({error})") from error
