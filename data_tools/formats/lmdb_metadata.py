"""Keys of an LMDB beside those of the records, such as num_examples, length or __keys__, as many databases hold.

If the keys of the records are numbers, all keys that are no numbers count as metadata, else only those with such a
name. In either case the value must not be a protein.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from .lmdb_values import Layout, readable

_NAMES = (
    *(b"count", b"ids", b"info", b"keys", b"len", b"length", b"meta", b"metadata", b"size", b"total", b"version"),
    *(b"num_entries", b"num_examples", b"num_proteins", b"num_records", b"num_samples", b"num_sequences"),
)
_MOST = 1_000


def find_metadata(cursor: Any, layout: Layout, num_entries: int) -> frozenset[bytes]:
    """The keys of a database that belong to no record; the items of the cursor must be views.

    Raises ValueError naming a key if there are too many of them, or no others, or if one holds a protein although keys
    should be numbers.
    """
    by_number = layout.keys == "numbers"
    found = set[bytes]()
    for key, value in _outside_digits(cursor) if by_number else _named(cursor):
        is_record = layout.is_record(value)
        if by_number and (is_record or len(found) == _MOST):
            raise ValueError(_no_number(bytes(key)))
        if not is_record:
            found.add(bytes(key))
    if len(found) == num_entries:
        raise ValueError(_no_number(min(found)))
    return frozenset(found)


def _no_number(key: bytes) -> str:
    return f"key {readable(key)!r}: the keys must be '0', '1', ... (or say --keys stored)"


def _outside_digits(cursor: Any) -> Iterator[tuple[memoryview, memoryview]]:
    """The items whose keys begin before '0' or after '9', in the order of the database."""
    cursor.first()
    yield from takewhile(lambda item: bytes(item[0]) < b"0", cursor.iternext())
    if cursor.set_range(b":"):
        yield from cursor.iternext()


def _named(cursor: Any) -> Iterator[tuple[memoryview, memoryview]]:
    """The items whose keys are names of metadata, or begin and end with two underscores."""
    for name in _NAMES:
        if cursor.set_key(name):
            yield cursor.item()
    if cursor.set_range(b"__"):
        between = takewhile(lambda item: bytes(item[0]).startswith(b"__"), cursor.iternext())
        yield from (item for item in between if bytes(item[0]).endswith(b"__"))
