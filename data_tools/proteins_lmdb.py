"""Proteins in an LMDB database: the form in which collections of sequences are passed on.

    key      the record's number in ASCII digits, "0", "1", ..., without gaps
    value    JSON, {"sequence": "MKT...", "id": "P12345"}; "id" may be missing

Written as one file. Read as one file or as a directory with data.mdb, which is how older databases are laid out, and
in the layouts that Layout names. Pickled values, which some such databases hold, are refused: to unpickle is to run
what its author wrote. A protein cut into chunks is as many records in a row; a chunk says which it is of how many,
{"sequence": ..., "id": "P12345/1001-2000", "part": [2, 3]}.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import lmdb

_RECORDS_AT_ONCE = 2_000
_MAPPED_BYTES = 1 << 27
_PICKLE = b"\x80"
_PICKLED = (
    "the value is pickled, and to unpickle a file made by others can run code; have the database written with JSON "
    'values, {"sequence": "MKT..."}'
)


class Record(NamedTuple):
    """One record: its key in the database, the protein's id (the key where none was given), its sequence.

    `is_chunk`: it is part of a protein that was cut; `is_later_chunk`: it continues the protein of the record before.
    """

    key: str
    name: str
    sequence: str
    is_later_chunk: bool = False
    is_chunk: bool = False


@dataclass(frozen=True)
class Layout:
    """How a database is laid out.

    Attributes:
        values: "json", an object with the sequence in `field`; "raw", the letters themselves.
        field: where in the object the sequence is.
        keys: "numbers", "0" to "N - 1" in ASCII digits, read in numeric order; "stored", any, read in the database's
            order of bytes, which for binary big-endian or zero-padded numbers is the numeric one.
    """

    values: str = "json"
    field: str = "sequence"
    keys: str = "numbers"

    def __post_init__(self) -> None:
        if self.values not in ("json", "raw"):
            raise ValueError(f"--values {self.values}: expected json or raw")
        if self.keys not in ("numbers", "stored"):
            raise ValueError(f"--keys {self.keys}: expected numbers or stored")


class ProteinsLmdb:
    """The records of a database in the order of their keys: `with ProteinsLmdb(path) as proteins`.

    `len(proteins)` is their number. Opening raises FileNotFoundError, and ValueError for what is no LMDB database or
    holds nothing. Reading raises ValueError naming the key that is missing or whose value cannot be understood.
    """

    def __init__(self, path: str | Path, layout: Layout | None = None) -> None:
        self.path = Path(path)
        self.layout = layout or Layout()
        self._plain = re.compile(
            rb'\{"%s": "([^"]*)"(?:, "id": "[ !#-\[\]-~]*")?\}' % re.escape(self.layout.field.encode())
        )

    def __enter__(self) -> Self:
        self._env = _open(self.path)
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
        return self.records(0, len(self))

    def records(self, start: int, stop: int, before: bytes | None = None) -> Iterator[Record]:
        """The records `start` up to `stop`, by their place in the order.

        In the order of the database a place is found by walking there, unless `before`, the key before it, is known.
        """
        for items in self._batches(start, stop, before):
            for key, value in items:
                yield self._record(key, value)

    def sequences(self, start: int, stop: int) -> Iterator[tuple[list[bytes], list[bool] | None]]:
        """The sequences of records `start` up to `stop`, some thousand at a time: (sequences, later chunk or not).

        Values as json.dumps writes them are not parsed but matched, which is faster, so that a sequence spelled with
        escapes comes with them; any other value goes the whole way. None says that no record is a later chunk.
        """
        for items in self._batches(start, stop):
            if self.layout.values == "raw":
                yield [self._letters(*item) for item in items], None
                continue
            matches = [self._plain.fullmatch(value) for _, value in items]
            if None in matches:
                records = [match or self._record(*item) for match, item in zip(matches, items, strict=True)]
                sequences = [r.sequence.encode() if isinstance(r, Record) else r[1] for r in records]
                yield sequences, [isinstance(r, Record) and r.is_later_chunk for r in records]
            else:
                yield [match[1] for match in matches if match], None

    def begins_protein(self, number: int) -> bool:
        """Whether a record, by its place in the order, is a whole protein or the first chunk of one."""
        return not next(self.records(number, number + 1)).is_later_chunk

    def last_key(self, start: int, stop: int, before: bytes | None) -> bytes:
        """In the order of the database the key of record `stop` - 1, `before` being that of record `start` - 1."""
        with self._env.begin() as transaction, _naming_damage(self.path):
            keys = self._walk(transaction.cursor(), start, before).iternext(values=False)
            return next(islice(keys, stop - start - 1, None))

    def _batches(self, start: int, stop: int, last_key: bytes | None = None) -> Iterator[list[tuple[bytes, bytes]]]:
        read = self._by_number if self.layout.keys == "numbers" else self._as_stored
        while start < stop:
            with self._env.begin() as transaction, _naming_damage(self.path):
                mapped = 0
                for items in read(transaction.cursor(), start, stop, last_key):
                    yield items
                    start, last_key = start + len(items), items[-1][0]
                    mapped += sum(len(value) for _, value in items)
                    if mapped > _MAPPED_BYTES:
                        break
            if mapped > _MAPPED_BYTES:  # pages once touched stay in memory until the map is closed
                self._env.close()
                self._env = _open(self.path)

    def _by_number(
        self, cursor: Any, start: int, stop: int, last_key: bytes | None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        for first in range(start, stop, _RECORDS_AT_ONCE):
            keys = [b"%d" % number for number in range(first, min(first + _RECORDS_AT_ONCE, stop))]
            items = cursor.getmulti(keys)
            if len(items) < len(keys):
                found = {key for key, _ in items}
                missing = next(key.decode() for key in keys if key not in found)
                raise ValueError(
                    f"{self.path}: {self._num_records:,} records, but none with key {missing!r}; the keys must be "
                    f"'0' to '{self._num_records - 1}' (or say --keys stored)"
                )
            yield items

    def _as_stored(
        self, cursor: Any, start: int, stop: int, last_key: bytes | None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        items = self._walk(cursor, start, last_key).iternext()
        for first in range(start, stop, _RECORDS_AT_ONCE):
            yield list(islice(items, min(_RECORDS_AT_ONCE, stop - first)))

    def _walk(self, cursor: Any, start: int, last_key: bytes | None) -> Any:
        """The cursor at the record `start`."""
        if last_key is None:
            cursor.first()
            for _ in range(start):
                cursor.next()
        else:
            cursor.set_key(last_key)
            cursor.next()
        return cursor

    def _check(self) -> None:
        if not self._num_records:
            raise ValueError(f"{self.path}: the database is empty")
        data = self.path / "data.mdb" if self.path.is_dir() else self.path
        missing = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"] - data.stat().st_size
        if missing > 0:  # to read a page that is not there would end the process with a bus error
            raise ValueError(
                f"{data}: cut off, {missing:,} bytes are missing; copy it again, or compact it by mdb_copy -c"
            )

    def _letters(self, key: bytes, value: bytes) -> bytes:
        if value.startswith(_PICKLE):
            raise ValueError(f"{self._where(key)}: {_PICKLED}")
        return value

    def _record(self, key: bytes, value: bytes) -> Record:
        name = key.decode("utf-8", "backslashreplace")
        if self.layout.values == "raw":
            return Record(name, name, self._letters(key, value).decode("latin-1"))
        fields = self._fields(key, value)
        sequence = fields.get(self.layout.field)
        if not isinstance(sequence, str):
            raise ValueError(f'{self._where(key)}: the value has no "{self.layout.field}" with a string')
        part: Any = fields.get("part")
        is_chunk = isinstance(part, list)
        return Record(name, str(fields.get("id", name)), sequence, is_chunk and part[:1] > [1], is_chunk)

    def _fields(self, key: bytes, value: bytes) -> dict[str, Any]:
        if value.startswith(_PICKLE):
            raise ValueError(f"{self._where(key)}: {_PICKLED}")
        try:
            fields = json.loads(value.decode())
        except ValueError:
            raise ValueError(f"{self._where(key)}: the value is not JSON") from None
        if not isinstance(fields, dict):
            raise ValueError(f'{self._where(key)}: the value has no "{self.layout.field}" with a string')
        return fields

    def _where(self, key: bytes) -> str:
        return f"{self.path}, key {key.decode('utf-8', 'backslashreplace')!r}"


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
