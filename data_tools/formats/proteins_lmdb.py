"""Proteins in an LMDB database: the form in which collections of sequences are passed on.

    key      the record's number in ASCII digits, "0", "1", ..., without gaps
    value    JSON, {"sequence": "MKT...", "id": "P12345"}; "id" may be missing

We write one file. We read one file, or a directory with data.mdb as older databases are, in any of the layouts that
lmdb_values.Layout names. The chunks of a protein that was cut are records in a row, and each says which of how many it
is: {"sequence": ..., "id": "P12345/1001-2000", "part": [2, 3]}.

Keys beside those of the records are left out; see lmdb_metadata.py.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import lmdb

from .lmdb_metadata import find_metadata
from .lmdb_values import ChunkOrder, Layout, Record, readable

Result = TypeVar("Result")

_RECORDS_AT_ONCE = 2_000
_MAPPED_BYTES = 1 << 27
_PAGE_SIZE = slice(40, 44)
"""Where the first page of a database says how large its pages are."""
_MOST_NAMED = 5


class ProteinsLmdb:
    """The records of a database in the order of their keys: `with ProteinsLmdb(path) as proteins`.

    `len(proteins)` is their number, and `metadata` are the keys that are left out.

    Opening raises FileNotFoundError, and ValueError for a file that is no LMDB database or is empty. Reading raises
    ValueError naming a key that is missing or whose value cannot be understood. Iterating and `sequences` also name a
    chunk that does not follow the one before it.
    """

    def __init__(self, path: str | Path, layout: Layout | None = None) -> None:
        self.path = Path(path)
        self.layout = layout or Layout()
        self._plain = re.compile(
            rb'\{"%s": "([^"]*)"(?:, "id": "[ !#-\[\]-~]*")?\}' % re.escape(self.layout.field.encode())
        )

    def __enter__(self) -> Self:
        self._env = _open(self.path)
        try:
            self._check()
            with self._env.begin(buffers=True) as transaction, _naming_damage(self.path):
                self.metadata = self._find_metadata(transaction.cursor())
        except ValueError:
            self._env.close()
            raise
        self._num_records = self._env.stat()["entries"] - len(self.metadata)
        return self

    def __exit__(self, *error: object) -> None:
        self._env.close()

    def __len__(self) -> int:
        return self._num_records

    def __iter__(self) -> Iterator[Record]:
        order = ChunkOrder()
        for record in self.records(0, len(self)):
            self._follow(order, record)
            yield record
        self._follow(order, None)

    def records(self, start: int, stop: int, before: bytes | None = None) -> Iterator[Record]:
        """The records `start` up to `stop`, by their place in the order.

        Keys as they are stored must be walked through to find a place, unless `before`, the key before it, is given.
        """
        for items in self._batches(start, stop, before):
            for key, value in items:
                yield self._record(key, value)

    def sequences(self, start: int, stop: int) -> Iterator[tuple[list[bytes], list[bool] | None]]:
        """The sequences of records `start` up to `stop`, some thousand at a time: (sequences, later chunk or not).

        Values as json.dumps writes them are matched instead of parsed, which is faster, and leaves escapes in a
        sequence as they are. Any other value is parsed. None instead of a list says that no record is a later chunk. No
        protein may reach over `start` or `stop`.
        """
        order = ChunkOrder()
        for items in self._batches(start, stop):
            if self.layout.values == "raw":
                yield [self._read(key, self.layout.letters, value) for key, value in items], None
                continue
            sequences, later = [], []
            for key, value in items:
                if (match := self._plain.fullmatch(value)) and not order.is_inside:
                    sequences.append(match[1])
                    later.append(False)
                else:
                    record = self._record(key, value)
                    self._follow(order, record)
                    sequences.append(record.sequence.encode("utf-8", "replace"))
                    later.append(record.is_later_chunk)
            yield sequences, later if any(later) else None
        self._follow(order, None)

    def left_out(self) -> str:
        """A sentence that names the keys that are left out. It is empty if there are none."""
        names = ", ".join(repr(readable(key)) for key in sorted(self.metadata)[:_MOST_NAMED])
        more = ", ..." if len(self.metadata) > _MOST_NAMED else ""
        return f"{self.path}: left out {len(self.metadata):,} keys without a protein: {names}{more}" if names else ""

    def begins_protein(self, number: int) -> bool:
        """Whether the record in this place of the order is a whole protein or the first chunk of one."""
        return not next(self.records(number, number + 1)).is_later_chunk

    def last_key(self, start: int, stop: int, before: bytes | None) -> bytes:
        """The key of record `stop` - 1, as stored; `before` is the key of record `start` - 1, None if there is none."""
        with self._env.begin() as transaction, _naming_damage(self.path):
            return next(islice(self._keys(transaction.cursor(), start, before), stop - start - 1, None))

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
        keys = self._keys(cursor, start, last_key)
        items = ((key, cursor.value()) for key in keys)
        for first in range(start, stop, _RECORDS_AT_ONCE):
            yield list(islice(items, min(_RECORDS_AT_ONCE, stop - first)))

    def _keys(self, cursor: Any, start: int, last_key: bytes | None) -> Iterator[bytes]:
        """Yields the keys of the records from `start` on, as stored. The cursor is at the key yielded last."""
        found = cursor.first() if last_key is None else cursor.set_key(last_key) and cursor.next()
        keys = cursor.iternext(values=False) if found else ()
        return islice((key for key in keys if key not in self.metadata), 0 if last_key else start, None)

    def _find_metadata(self, cursor: Any) -> frozenset[bytes]:
        try:
            return find_metadata(cursor, self.layout, self._env.stat()["entries"])
        except ValueError as error:
            raise ValueError(f"{self.path}, {error}") from None

    def _check(self) -> None:
        if not self._env.stat()["entries"]:
            raise ValueError(f"{self.path}: the database is empty")
        data = data_file(self.path)
        missing = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"] - data.stat().st_size
        if missing > 0:  # to read a page that is not there would end the process with a bus error
            raise ValueError(
                f"{data}: cut off, {missing:,} bytes are missing; copy it again, or compact it by mdb_copy -c"
            )

    def _record(self, key: bytes, value: bytes) -> Record:
        return self._read(key, partial(self.layout.record, key), value)

    def _read(self, key: bytes, read: Callable[[bytes], Result], value: bytes) -> Result:
        try:
            return read(value)
        except ValueError as error:
            raise ValueError(f"{self._where(key)}: {error}") from None

    def _follow(self, order: ChunkOrder, record: Record | None) -> None:
        """Hands on the next record, or None at the end, and names it if it cannot come next."""
        try:
            order.follow(record)
        except ValueError as error:
            raise ValueError(f"{self.path}{f', key {record.key!r}' if record else ''}: {error}") from None

    def _where(self, key: bytes) -> str:
        return f"{self.path}, key {readable(key)!r}"


def data_file(path: Path) -> Path:
    """The file that holds the data of an input, which is data.mdb for a database in a folder."""
    return path / "data.mdb" if path.is_dir() else path


def _open(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; expected an LMDB database")
    if (data := data_file(path)).is_file():
        with data.open("rb") as file:
            page_bytes = int.from_bytes(file.read(_PAGE_SIZE.stop)[_PAGE_SIZE], "little")
        if 0 < data.stat().st_size < 2 * page_bytes:  # to read the second of its first two pages would be a bus error
            raise ValueError(f"{data}: not an LMDB database, or damaged (cut off)")
    with _naming_damage(path):
        return lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not an LMDB database, or damaged ({reason})") from None
