"""The two sides of prepared data, training and validation: a clean block's share of each, and the files they go to."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import LETTER_OF_ID, SIZE
from d2plm_megatron.proteins.mmseqs import read_hits

from ..formats.lmdb_writer import LmdbWriter, to_value
from .chunks import chunk_bounds, chunk_lengths, chunk_name
from .clean_blocks import block_names, read_block, rejected_line
from .outcomes import DUPLICATE, HOMOLOG, TRAINING, VALIDATION, read_fates

SIDES = {"train": TRAINING, "validation": VALIDATION}


@dataclass(frozen=True)
class SideTask:
    """A clean block, its input, where its proteins' fates begin, its homologs, and the length to cut at, if any."""

    block: Path
    source: str
    fates: Path
    start: int
    hits: Path | None
    cut_at: int | None


@dataclass(frozen=True)
class SideShare:
    """A block's share of a side: what the LMDB and the indexed files take, and how long the proteins are."""

    values: list[bytes]
    ids: bytes
    lengths: np.ndarray
    begins: np.ndarray
    protein_lengths: np.ndarray


@dataclass
class Side:
    """Counts of a side; `composition` by id, `proteins_of_length[r]` proteins of r residues, uncut."""

    proteins: int = 0
    chunks_of_cut_proteins: int = 0
    residues: int = 0
    composition: np.ndarray = field(default_factory=lambda: np.zeros(SIZE, dtype=np.int64))
    proteins_of_length: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def absorb(self, share: SideShare) -> None:
        """Counts a block's share."""
        self.proteins += len(share.protein_lengths)
        self.chunks_of_cut_proteins += int((~(share.begins & np.append(share.begins[1:], True))).sum())
        self.residues += len(share.ids)
        self.composition += np.bincount(np.frombuffer(share.ids, dtype=np.uint8), minlength=SIZE)
        counts = np.bincount(share.protein_lengths)
        longer, shorter = sorted((self.proteins_of_length, counts), key=len, reverse=True)
        self.proteins_of_length = longer + np.pad(shorter, (0, len(longer) - len(shorter)))


class SideWriter:
    """Writes NAME.lmdb, NAME.bin and NAME.idx into a folder and counts what goes in; a context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        self.side = Side()
        self._lmdb = LmdbWriter(folder / f"{name}.lmdb")
        self._indexed = IndexedWriter(folder / name)

    def __enter__(self) -> "SideWriter":
        with ExitStack() as stack:
            stack.enter_context(self._lmdb)
            stack.enter_context(self._indexed)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, share: SideShare) -> None:
        """Appends a block's share."""
        self._lmdb.add_values(share.values)
        self._indexed.add_block(share.ids, share.lengths, share.begins)
        self.side.absorb(share)


def share_out(task: SideTask) -> tuple[dict[str, SideShare], str]:
    """A block's share of each side, and the lines of rejected.tsv for what it had and is on neither."""
    names = block_names(task.block)
    fates = read_fates(task.fates, task.start, len(names))
    ids, lengths, records, rejected = read_block(task.block, "ids", "lengths", "records", "rejected")
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    shares = {
        side: _share(np.flatnonzero(fates == fate), names, ids, bounds, task.cut_at) for side, fate in SIDES.items()
    }
    lines = (rejected_line(task.source, int(records[n]), names[n], *why) for n, why in _removed(task, fates))
    return shares, rejected.tobytes().decode() + "".join(lines)


def _share(chosen: np.ndarray, names: list[str], ids: np.ndarray, bounds: np.ndarray, cut_at: int | None) -> SideShare:
    own = [ids[bounds[n] : bounds[n + 1]].tobytes() for n in chosen.tolist()]
    residues = b"".join(own)
    protein_lengths = (bounds[chosen + 1] - bounds[chosen]).astype(np.int32)
    lengths, begins = chunk_lengths(protein_lengths, cut_at or max(1, int(protein_lengths.max(initial=1))))
    values: list[bytes] = []
    for number, residues_of_one in zip(chosen.tolist(), own, strict=True):
        values += _values(names[number], residues_of_one.translate(LETTER_OF_ID).decode(), cut_at)
    return SideShare(values, residues, lengths, begins, protein_lengths)


def _values(name: str, sequence: str, cut_at: int | None) -> list[bytes]:
    if cut_at is None or len(sequence) <= cut_at:
        return [to_value(name, sequence)]
    chunks = list(pairwise(chunk_bounds(len(sequence), cut_at)))
    return [
        to_value(chunk_name(name, start, stop), sequence[start:stop], (number, len(chunks)))
        for number, (start, stop) in enumerate(chunks, start=1)
    ]


def _removed(task: SideTask, fates: np.ndarray) -> Iterator[tuple[int, tuple[str, str]]]:
    """The proteins that were removed after cleaning, by number in the block: reason and detail."""
    for number in np.flatnonzero(fates == DUPLICATE).tolist():
        yield number, ("duplicate", "the same sequence came before")
    if task.hits is None:
        return
    hits = read_hits(task.hits)
    for number in np.flatnonzero(fates == HOMOLOG).tolist():
        hit = hits[np.searchsorted(hits["number"], task.start + number)]
        yield number, ("homolog", f"{hit['identity']:.0%} identical to validation protein {hit['target']}")
