"""Tables of proteins: read row by row, and written as they come, .csv or .parquet, so that memory does not grow."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from d2plm_megatron.compression import LONGEST_LINE_BYTES, lines, open_text
from d2plm_megatron.files import atomic

Row = Sequence[Any]
Columns = Mapping[str, type]
"""Names of columns with the type of what is in them: str, int or float. None is a value that there is not."""

SUFFIXES = (".csv", ".parquet")
_ROWS_AT_ONCE = 10_000
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(\d|[1-9]\d+|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?|nan", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A row of a table that was read.

    Attributes:
        where: the file and the line, for errors.
        values: what is in each column, as written, by the column's name.
    """

    where: str
    values: dict[str, str]


def read_table(path: Path, required: Iterable[str] = ()) -> Iterator[Line]:
    """Yields the rows of a table with a line of names, plain or compressed; , ; or tab are between the columns.

    Raises ValueError naming the column of the required ones that is missing, and those that there are, two columns of
    one name, or the line that has another number of columns; and what read_rows raises.
    """
    rows = read_rows(path)
    _, first = next(rows, ("", []))
    names = [name.strip() for name in first]
    for name in required:
        if name not in names:
            raise ValueError(f"{path}: no column {name!r}; there are {', '.join(names) or 'none'}")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: {names.count(name)} columns are named {name!r}; give each its own name")
    for where, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{where}: {len(row)} columns, where the first line names {len(names)}")
        yield Line(where, dict(zip(names, row, strict=True)))


def read_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields (file and line, for errors; what is in each column, as written) of each row that is not empty.

    The file is plain or compressed; , ; or tab are between the columns, whichever the first line has most of.

    Raises ValueError naming the line where a quotation mark is not closed; and what open_text raises.
    """
    csv.field_size_limit(LONGEST_LINE_BYTES)
    with open_text(path) as plain:
        rows = (row + "\n" for row in lines(plain, path))
        first = next(rows, "")
        reader = csv.reader(chain([first], rows), delimiter=max(",;\t", key=first.count), strict=True)
        try:
            for row in filter(None, reader):
                yield f"{path}, line {reader.line_num}", row
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}; is a quotation mark not closed?") from None


def column_names(path: Path) -> list[str]:
    """The names of a table's columns. Raises what read_table raises, and ValueError for a table without rows."""
    first = next(read_table(path), None)
    if first is None:
        raise ValueError(f"{path}: no row in it")
    return list(first.values)


def check_suffix(path: Path, allowed: Sequence[str] = SUFFIXES) -> None:
    """Raises, before any work, ValueError for a table of another kind, and ModuleNotFoundError for what it needs."""
    if path.suffix not in allowed:
        raise ValueError(f"{path}: a table ends in {' or '.join(allowed)}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ModuleNotFoundError(f"{path}: .parquet needs the package pyarrow", name="pyarrow")


def wider(kind: type | None, text: str) -> type | None:
    """What a column holds, int, float or str, once it holds this text, too; None while all that it holds is empty.

    What a number would not give back, such as 007, is no number.
    """
    if not text.strip() or kind is str:
        return kind
    if not _NUMBER.fullmatch(text.strip()):
        return str
    return int if kind in (None, int) and _INTEGER.fullmatch(text.strip()) else float


@contextmanager
def write_table(path: Path, columns: Columns) -> Iterator[Callable[[Row], None]]:
    """A function that writes one row, numbers also as text.

    The file, .csv or .parquet by its name, appears when the block ends well.
    """
    check_suffix(path)
    writing = _writing_parquet if path.suffix == ".parquet" else _writing_csv
    with atomic(path) as (temporary,), writing(temporary, columns) as write:
        yield write


@contextmanager
def _writing_csv(path: Path, columns: Columns) -> Iterator[Callable[[Row], None]]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield writer.writerow


@contextmanager
def _writing_parquet(path: Path, columns: Columns) -> Iterator[Callable[[Row], None]]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    waiting: list[Row] = []

    def flush() -> None:
        kinds = enumerate(columns.values())
        arrays = [pyarrow.array([_read(row[i], kind) for row in waiting], types[kind]) for i, kind in kinds]
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        waiting.clear()

    def write(row: Row) -> None:
        waiting.append(row)
        if len(waiting) == _ROWS_AT_ONCE:
            flush()

    with ParquetWriter(path, schema) as writer:
        yield write
        flush()


def _read(value: Any, kind: type) -> Any:
    """A value of a column; of text in a column of numbers the number that it writes, and None where it is empty."""
    if not isinstance(value, str) or kind is str:
        return value
    return kind(value) if value.strip() else None
