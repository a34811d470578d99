"""Inputs that are neither FASTA nor LMDB: tables, .csv and .tsv, and Stockholm alignments, read record by record.

A table has a line of column names; the sequence is in the column that is asked for, the id in the first of `id`,
`name`, `accession` and `entry` that is there. The separator is the comma, the semicolon or the tab, whichever
the first line has most of. A file may hold many alignments; one at a time is in memory.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from d2plm_megatron.compression import LONGEST_LINE_BYTES, Plain, lines

Record = tuple[str, str]

_IDS = ("id", "name", "accession", "entry")
_MOST_LETTERS = 1 << 29
_STOCKHOLM = b"# STOCKHOLM"


class Format(Enum):
    """The format of a text with records."""

    FASTA = "FASTA"
    TABLE = "table"
    STOCKHOLM = "Stockholm alignment"


def format_of(plain: Plain) -> Format:
    """The format of a text opened by open_text, by its first bytes and its name. Anything unknown counts as FASTA."""
    if plain.head.startswith(_STOCKHOLM):
        return Format.STOCKHOLM
    is_table = Path(plain.name).suffix.lower() in (".csv", ".tsv", ".tab") and not plain.head.lstrip().startswith(b">")
    return Format.TABLE if is_table else Format.FASTA


def read_table(plain: Plain, path: Path, field: str) -> Iterator[Record]:
    """Yields (id, value of the column `field`) of each row. A row without an id is called record_N.

    Raises ValueError for a table without that column, and naming a line that has fewer columns or no end.
    """
    rows = (row + "\n" for row in lines(plain, path))
    first = next(rows, "")
    separator = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
    if field.lower() not in names:
        raise ValueError(f"{path}: no column {field!r} among its first line, {', '.join(names)!r}; name it by --field")
    column = names.index(field.lower())
    own = next((names.index(name) for name in _IDS if name in names), None)
    csv.field_size_limit(LONGEST_LINE_BYTES)
    reader = csv.reader(rows, delimiter=separator)
    try:
        for number, row in enumerate(filter(None, reader), start=1):
            if len(row) <= max(column, own or 0):
                where = f"{path}, line {reader.line_num + 1}"
                raise ValueError(f"{where}: {len(row)} columns, where the first line names {len(names)}")
            yield (row[own].strip() if own is not None else "") or f"record_{number}", row[column]
    except csv.Error as error:
        where = f"{path}, line {reader.line_num + 1}"
        raise ValueError(f"{where}: {error}; is a quotation mark not closed?") from None


def read_stockholm(plain: Plain, path: Path) -> Iterator[Record]:
    """Yields (id, row as written) of the alignments. Source: the format as HMMER's user guide (3.4, 2023) has it.

    Raises ValueError naming a line that is no row, for an alignment of more than 512 MiB, and for one without its end.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    number = num_letters = 0
    for number, line in enumerate(lines(plain, path), start=1):
        if line.startswith("//"):
            yield from ((name, "".join(own)) for name, own in parts.items())
            parts.clear()
            num_letters = 0
        elif line.strip() and not line.startswith("#"):
            name, *letters = line.split()
            if len(letters) != 1:
                raise ValueError(f"{path}, line {number}: expected an id and letters with a space between")
            parts[name] += letters
            num_letters += len(letters[0])
            if num_letters > _MOST_LETTERS:
                raise ValueError(f"{path}, line {number}: an alignment of more than 512 MiB; make FASTA of it")
    if parts:
        raise ValueError(f"{path}: ends after line {number} without the // of its last alignment; is it cut off?")
