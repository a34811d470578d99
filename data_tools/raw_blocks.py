"""Raw inputs cut into blocks that a process can clean by itself: FASTA in pieces of text, LMDB in ranges of records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_tools.fasta import TextBlock, parse, text_blocks
from data_tools.lmdb_values import Layout
from data_tools.proteins_lmdb import ProteinsLmdb, data_file

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


def pieces_of(path: Path, layout: Layout) -> Iterator[FastaPiece | LmdbPiece]:
    """Cuts an input into pieces, the same at every call. Raises what text_blocks and ProteinsLmdb raise."""
    if is_lmdb(path):
        yield from _lmdb_pieces(path, layout)
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
