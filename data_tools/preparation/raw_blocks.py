"""Raw inputs cut into pieces that a process can clean by itself: FASTA as text, LMDB in ranges, others by record."""

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
class FastaPiece:
    """Some records of a FASTA file; `num_bytes` of the file, compressed as it may be, were read for them."""

    path: Path
    block: TextBlock
    num_bytes: int

    @property
    def first_record(self) -> int:
        """Number of its first record in the file, from 1."""
        return self.block.first_record

    @property
    def num_records(self) -> int:
        """How many there are."""
        return self.block.text.count(b"\n>") + self.block.text.startswith(b">")

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields (header, sequence as written); raises what `parse` raises."""
        return parse(self.path, self.block)


@dataclass(frozen=True)
class LmdbPiece:
    """The records `start` up to `stop` of a database; `num_bytes` is its share of the file.

    `before` is the stored key before them; None at the start, and for keys that are numbers.
    """

    path: Path
    layout: Layout
    start: int
    stop: int
    before: bytes | None
    num_bytes: int

    @property
    def first_record(self) -> int:
        """Number of its first record in the database, from 1."""
        return self.start + 1

    @property
    def num_records(self) -> int:
        """How many there are."""
        return self.stop - self.start

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields (id, sequence as written).

        Raises what ProteinsLmdb raises, and ValueError naming the key of a chunk: a part is no protein.
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
class RecordsPiece:
    """Some records of a table or an alignment, (id, sequence as written); the first has this number in it, from 1."""

    path: Path
    first_record: int
    own: tuple[tuple[str, str], ...]
    num_bytes: int

    @property
    def num_records(self) -> int:
        """How many there are."""
        return len(self.own)

    def records(self) -> Iterator[tuple[str, str]]:
        """Yields them."""
        return iter(self.own)


Piece = FastaPiece | LmdbPiece | RecordsPiece


def pieces_of(path: Path, layout: Layout) -> Iterator[Piece]:
    """Cuts an input into pieces, the same at every call.

    `layout` says how an LMDB is read, and its field names the column of a table. Raises what the readers of each format
    raise.
    """
    if is_lmdb(path):
        yield from _lmdb_pieces(path, layout)
        return
    with open_text(path) as plain:
        found = format_of(plain)
        if found != Format.FASTA:
            is_table = found == Format.TABLE
            records = read_table(plain, path, layout.field) if is_table else read_stockholm(plain, path)
            yield from _record_pieces(path, plain, records)
            return
    place = 0
    for block in text_blocks(path, _BLOCK_BYTES):
        yield FastaPiece(path, block, block.place - place)
        place = block.place


def is_lmdb(path: Path) -> bool:
    """Whether an input is a database: a folder, or a file whose first page has LMDB's magic number."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return int.from_bytes(file.read(20)[16:], "little") == 0xBEEFC0DE


def left_out(path: Path, layout: Layout) -> str:
    """Of a database, which of its keys hold no protein, in words; empty where there are none, and of other inputs."""
    if not is_lmdb(path):
        return ""
    with ProteinsLmdb(path, layout) as proteins:
        return proteins.left_out()


def _record_pieces(path: Path, plain: Plain, records: Iterator[tuple[str, str]]) -> Iterator[RecordsPiece]:
    own: list[tuple[str, str]] = []
    number, letters, place = 1, 0, 0
    for record in records:
        own.append(record)
        letters += len(record[1])
        if letters >= _BLOCK_BYTES or len(own) == _BLOCK_RECORDS:
            yield RecordsPiece(path, number, tuple(own), plain.file.tell() - place)
            number, letters, place = number + len(own), 0, plain.file.tell()
            own = []
    if own:
        yield RecordsPiece(path, number, tuple(own), plain.file.tell() - place)
    elif number == 1:
        raise ValueError(f"{path}: empty, no record in it")


def _lmdb_pieces(path: Path, layout: Layout) -> Iterator[LmdbPiece]:
    with ProteinsLmdb(path, layout) as proteins:
        size, total = data_file(path).stat().st_size, len(proteins)
    before = None
    for start in range(0, total, _BLOCK_RECORDS):
        stop = min(start + _BLOCK_RECORDS, total)
        yield LmdbPiece(path, layout, start, stop, before, size * stop // total - size * start // total)
        if layout.keys == "stored" and stop < total:
            with ProteinsLmdb(path, layout) as proteins:  # opened anew: pages once touched stay in memory until then
                before = proteins.last_key(start, stop, before)
