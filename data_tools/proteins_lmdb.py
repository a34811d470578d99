"""Proteins in an LMDB database: the form in which collections of sequences are passed on.

    key      the record's number in ASCII digits, "0", "1", ..., without gaps
    value    JSON, {"sequence": "MKT...", "id": "P12345"}; "id" may be missing

Written as one file. Read as one file or as a directory with data.mdb, which is how older databases are laid out.
Pickled values, which some such databases hold, are refused: to unpickle is to run what its author wrote.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import lmdb

_FIRST_MAP_BYTES = 1 << 26
_RECORDS_AT_ONCE = 10_000
_PICKLE = b"\x80"


class Record(NamedTuple):
    """One record: its key in the database, the protein's id (the key where none was given), its sequence."""

    key: str
    name: str
    sequence: str


class LmdbWriter:
    """Writes a new database, record by record: `with LmdbWriter(path) as writer: writer.add(name, sequence)`.

    The database grows as needed. It is no whole database before the block has ended well, so give it the temporary
    name of files.atomic. Raises OSError naming the folder when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[bytes, bytes]] = []
        self.num_records = 0

    def __enter__(self) -> Self:
        # Nobody else knows of the file, and a crash leaves it unused: no lock and no flush to disk at each commit.
        with self._system_errors():
            self._env = lmdb.open(str(self._path), subdir=False, lock=False, sync=False, map_size=_FIRST_MAP_BYTES)
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
        value = json.dumps({"sequence": sequence, "id": name})
        self._waiting.append((str(self.num_records).encode(), value.encode()))
        self.num_records += 1
        if len(self._waiting) == _RECORDS_AT_ONCE:
            self._commit()

    def _commit(self) -> None:
        while self._waiting:
            try:
                with self._system_errors(), self._env.begin(write=True) as transaction:
                    transaction.cursor().putmulti(self._waiting)
                self._waiting.clear()
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])

    @contextmanager
    def _system_errors(self) -> Iterator[None]:
        """Turns an error of LMDB into an OSError naming the folder; a full disk shows as EIO when it cuts a write."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            folder = self._path.parent
            if shutil.disk_usage(folder).free < sum(len(value) for _, value in self._waiting):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise OSError(f"{folder}: LMDB cannot write here ({error})") from error


class ProteinsLmdb:
    """The records of a database, in numeric order of their keys, one at a time: `with ProteinsLmdb(path) as proteins`.

    `len(proteins)` is their number. Opening raises FileNotFoundError, and ValueError for what is no LMDB database or
    holds nothing. Iterating raises ValueError naming the key that is missing or whose value cannot be understood.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def __enter__(self) -> Self:
        self._env = _open(self._path)
        self._num_records = self._env.stat()["entries"]
        try:
            self._check()
        except ValueError:
            self._env.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._env.close()

    def __len__(self) -> int:
        return self._num_records

    def __iter__(self) -> Iterator[Record]:
        with self._env.begin() as transaction, _naming_damage(self._path):
            for number in range(self._num_records):
                key = str(number)
                value = transaction.get(key.encode())
                if value is None:
                    raise ValueError(
                        f"{self._path}: {self._num_records:,} records, but none with key {key!r}; the keys must be "
                        f"'0' to '{self._num_records - 1}'"
                    )
                yield self._record(key, value)

    def _check(self) -> None:
        if not self._num_records:
            raise ValueError(f"{self._path}: the database is empty")
        data = self._path / "data.mdb" if self._path.is_dir() else self._path
        missing = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"] - data.stat().st_size
        if missing > 0:  # to read a page that is not there would end the process with a bus error
            raise ValueError(
                f"{data}: cut off, {missing:,} bytes are missing; copy it again, or compact it by mdb_copy -c"
            )

    def _record(self, key: str, value: bytes) -> Record:
        where = f"{self._path}, key {key!r}"
        if value.startswith(_PICKLE):
            raise ValueError(
                f"{where}: the value is pickled, and to unpickle a file made by others can run code; have the database "
                'written with JSON values, {"sequence": "MKT..."}'
            )
        try:
            fields: Any = json.loads(value.decode())
        except ValueError:
            raise ValueError(f"{where}: the value is not JSON") from None
        if not isinstance(fields, dict) or not isinstance(fields.get("sequence"), str):
            raise ValueError(f'{where}: the value has no "sequence" with a string')
        return Record(key, str(fields.get("id", key)), fields["sequence"])


def _open(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; expected an LMDB database")
    with _naming_damage(path):
        return lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not an LMDB database, or damaged ({reason})") from None
