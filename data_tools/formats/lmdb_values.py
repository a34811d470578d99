"""The values of an LMDB of proteins, in the layouts that Layout names, and the order of the chunks of a protein.

Some databases hold pickled values. These are refused, since unpickling can run code of whoever wrote the file.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

_PICKLE = b"\x80"
_PICKLED = (
    "the value is pickled, and to unpickle a file made by others can run code; have the database written with JSON "
    'values, {"sequence": "MKT..."}'
)
_RAW = re.compile(rb"[A-Z*.-]{1,1000000}")
_RANGE_OF_CHUNK = re.compile(r"/\d+-\d+$")


class Record(NamedTuple):
    """One record of a database.

    Attributes:
        key: where it is in the database.
        name: the id of the protein or chunk; the key, if the value gives none.
        sequence: as it is stored.
        part: (i, n) for chunk i, from 1, of the n chunks of a protein that was cut; None for a whole protein.
    """

    key: str
    name: str
    sequence: str
    part: tuple[int, int] | None = None

    @property
    def is_later_chunk(self) -> bool:
        """Whether it continues the protein of the record before."""
        return self.part is not None and self.part[0] > 1

    @property
    def protein(self) -> str:
        """The id of the protein. That of a chunk loses the range of its residues."""
        return _RANGE_OF_CHUNK.sub("", self.name) if self.part else self.name


@dataclass(frozen=True)
class Layout:
    """How a database is laid out.

    Attributes:
        values: "json" if a value is an object with the sequence in `field`, "raw" if it is the letters themselves.
        field: where in the object the sequence is.
        keys: "numbers" if the keys are "0" to "N - 1" in ASCII digits, which are read in numeric order; "stored" for
            any keys, which are read in the order of their bytes. Of binary big-endian or zero-padded numbers this is
            the numeric order.
    """

    values: str = "json"
    field: str = "sequence"
    keys: str = "numbers"

    def __post_init__(self) -> None:
        if self.values not in ("json", "raw"):
            raise ValueError(f"--values {self.values}: expected json or raw")
        if self.keys not in ("numbers", "stored"):
            raise ValueError(f"--keys {self.keys}: expected numbers or stored")

    def letters(self, value: bytes) -> bytes:
        """The letters of a raw value. Raises ValueError for a pickled one."""
        if value.startswith(_PICKLE):
            raise ValueError(_PICKLED)
        return value

    def record(self, key: bytes, value: bytes) -> Record:
        """The record of a key and a value. Raises ValueError, saying what is wrong with the value."""
        name = readable(key)
        if self.values == "raw":
            return Record(name, name, self.letters(value).decode("latin-1"))
        fields = _parsed(self.letters(value))
        if not isinstance(fields, dict) or not isinstance(sequence := fields.get(self.field), str):
            raise ValueError(f'the value has no "{self.field}" with a string')
        given = fields.get("id")
        if isinstance(given, str | int) and str(given).strip():
            name = str(given).encode("utf-8", "backslashreplace").decode()
        return Record(readable(key), name, sequence, _part(fields.get("part")))

    def is_record(self, value: bytes | memoryview) -> bool:
        """Whether a value is a record. A long value that is none costs little."""
        if self.values == "raw":
            return _RAW.fullmatch(value) is not None
        try:
            return value[:1] == b"{" and bool(self.record(b"", bytes(value)))
        except ValueError:
            return False


class ChunkOrder:
    """Follows records in their order, and checks that the chunks of a protein are all there and in a row."""

    def __init__(self) -> None:
        self._begun: Record | None = None

    @property
    def is_inside(self) -> bool:
        """Whether the next record must continue the protein of the last one."""
        return self._begun is not None

    def follow(self, record: Record | None) -> None:
        """Takes the next record, or None at the end. Raises ValueError if it cannot come next."""
        begun = self._begun
        if begun is None and record and record.is_later_chunk:
            raise ValueError(f"{_words(record)} comes without the chunk before it")
        if begun is not None and not (record and _continues(begun, record)):
            raise ValueError(f"{_words(begun)} is followed by {_words(record) if record else 'nothing'}")
        self._begun = record if record and record.part and record.part[0] < record.part[1] else None


def readable(key: bytes | memoryview) -> str:
    """A key as text."""
    return bytes(key).decode("utf-8", "backslashreplace")


def _parsed(value: bytes) -> Any:
    try:
        return json.loads(value.decode())
    except (ValueError, RecursionError):
        raise ValueError("the value is not JSON") from None


def _part(part: object) -> tuple[int, int] | None:
    if part is None:
        return None
    match part:
        case [int(number), int(total)] if bool not in map(type, part) and 1 <= number <= total:
            return (number, total) if total > 1 else None
    raise ValueError(f'"part" must be [i, n], chunk i of n, and not {str(part)[:40]}')


def _continues(before: Record, record: Record) -> bool:
    assert before.part
    number, total = before.part
    same = before.protein == record.protein or record.name == record.key  # where it has no id of its own
    return record.part == (number + 1, total) and same


def _words(record: Record) -> str:
    which = f"chunk {record.part[0]} of {record.part[1]} of " if record.part else ""
    return f"{which}{record.protein!r}"
