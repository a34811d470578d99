"""Raw blocks: the inputs cut into parts, each of which a process can clean by itself.

FASTA is cut as text, LMDB by ranges of records; the records of any other input are read first and then grouped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.compression import Plain, open_text
from d2plm_megatron.proteins.fasta import TextBlock, parse, text_blocks

from ..formats.lmdb_values import Layout
from ..formats.proteins_lmdb import ProteinsLmdb, data_file
from ..formats.tables import Format, format_of, read_stockholm, read_table

_BLOCK_BYTES = 1 << 21
_BLOCK_RECORDS = 5_000


@dataclass(frozen=True)
class FastaBlock:
    """Some records of a FASTA file. To get them, `num_bytes` of the file were read, compressed as it may be."""

    path: Path
    text: TextBlock
    num_bytes: int

    @property
    def first_record(self) -> int:
        """The number of its first record in the file, counted from 1."""
        return self.text.first_record

    @property
    def num_records(self) -> int:
        """How many records there are."""
        return self.text.text.count(b"\n>") + self.text.text.startswith(b">")

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields (header, sequence as written). Raises what `parse` raises."""
        return parse(self.path, self.text)


@dataclass(frozen=True)
class LmdbBlock:
    """The records `start` up to `stop` of a database; `num_bytes` is about how much of the file they take.

    `before` is the stored key of the record before them. It is None at the start, and where keys are numbers.
    """

    path: Path
    layout: Layout
    start: int
    stop: int
    before: bytes | None
    num_bytes: int

    @property
    def first_record(self) -> int:
        """The number of its first record in the database, counted from 1."""
        return self.start + 1

    @property
    def num_records(self) -> int:
        """How many records there are."""
        return self.stop - self.start

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields (id, sequence as written).

        Raises what ProteinsLmdb raises, and ValueError naming the key of a chunk, since part of a protein is none.
        """
        with ProteinsLmdb(self.path, self.layout) as proteins:
            for record in proteins.records(self.start, self.stop, self.before):
                if record.part:
                    raise ValueError(
                        f"{self.path}, key {record.key!r}: a chunk of a cut protein; give the proteins as they were "
                        "before they were cut"
                    )
                yield record.name, record.sequence


@dataclass(frozen=True)
class RecordsBlock:
    """Some records of a table or an alignment, each (id, sequence as written).

    `first_record` is the number of the first one in the file, counted from 1.
    """

    path: Path
    first_record: int
    pairs: tuple[tuple[str, str], ...]
    num_bytes: int

    @property
    def num_records(self) -> int:
        """How many records there are."""
        return len(self.pairs)

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields the records."""
        return iter(self.pairs)


RawBlock = FastaBlock | LmdbBlock | RecordsBlock


def blocks_of(path: Path, layout: Layout) -> Iterator[RawBlock]:
    """Cuts an input into blocks, which are the same at every call.

    `layout` says how an LMDB is read, and its field names the column of a table. Raises what the readers of the formats
    raise.
    """
    if is_lmdb(path):
        yield from _lmdb_blocks(path, layout)
        return
    with open_text(path) as plain:
        found = format_of(plain)
        if found != Format.FASTA:
            is_table = found == Format.TABLE
            records = read_table(plain, path, layout.field) if is_table else read_stockholm(plain, path)
            yield from _record_blocks(path, plain, records)
            return
    place = 0
    for text in text_blocks(path, _BLOCK_BYTES):
        yield FastaBlock(path, text, text.place - place)
        place = text.place


def is_lmdb(path: Path) -> bool:
    """Whether an input is a database: a folder, or a file whose first page has LMDB's magic number."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return int.from_bytes(file.read(20)[16:], "little") == 0xBEEFC0DE


def left_out(path: Path, layout: Layout) -> str:
    """A sentence about the keys of a database that hold no protein. It is empty if there are none, or no database."""
    if not is_lmdb(path):
        return ""
    with ProteinsLmdb(path, layout) as proteins:
        return proteins.left_out()


def _record_blocks(path: Path, plain: Plain, records: Iterator[tuple[str, str]]) -> Iterator[RecordsBlock]:
    pairs: list[tuple[str, str]] = []
    number, letters, place = 1, 0, 0
    for record in records:
        pairs.append(record)
        letters += len(record[1])
        if letters >= _BLOCK_BYTES or len(pairs) == _BLOCK_RECORDS:
            yield RecordsBlock(path, number, tuple(pairs), plain.file.tell() - place)
            number, letters, place = number + len(pairs), 0, plain.file.tell()
            pairs = []
    if pairs:
        yield RecordsBlock(path, number, tuple(pairs), plain.file.tell() - place)
    elif number == 1:
        raise ValueError(f"{path}: empty, no record in it")


def _lmdb_blocks(path: Path, layout: Layout) -> Iterator[LmdbBlock]:
    with ProteinsLmdb(path, layout) as proteins:
        size, total = data_file(path).stat().st_size, len(proteins)
    before = None
    for start in range(0, total, _BLOCK_RECORDS):
        stop = min(start + _BLOCK_RECORDS, total)
        yield LmdbBlock(path, layout, start, stop, before, size * stop // total - size * start // total)
        if layout.keys == "stored" and stop < total:
            with ProteinsLmdb(path, layout) as proteins:  # opened anew: pages once touched stay in memory until then
                before = proteins.last_key(start, stop, before)
