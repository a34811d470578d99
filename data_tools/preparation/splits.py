"""The splits of prepared data, train, validation and test: which part of a clean block goes to each, and its files."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import LETTER_OF_ID, SIZE

from ..formats.lmdb_writer import LmdbWriter, to_value
from .chunks import chunk_bounds, chunk_lengths, chunk_name
from .clean_blocks import block_names, read_block, rejected_line
from .hold_out import TEST, TRAINING, VALIDATION, HoldOut
from .homologs import Comparison, read_hits
from .outcomes import DUPLICATE, read_outcomes

SPLITS = {"train": TRAINING, "validation": VALIDATION, "test": TEST}


def splits_of(hold_out: HoldOut) -> dict[str, int]:
    """The splits that are wanted, by name, and the outcome of the proteins in each."""
    wanted = {"train": True, "validation": bool(hold_out.fraction), "test": bool(hold_out.test)}
    return {name: outcome for name, outcome in SPLITS.items() if wanted[name]}


@dataclass(frozen=True)
class SplitTask:
    """A clean block to be split.

    Attributes:
        block: its file.
        source: the input that it was made from.
        outcomes: the file with the outcomes of all proteins.
        start: the number of its first protein.
        hits: the searches for homologs and the files with what they found in it.
        cut_at: residues above which proteins are cut into chunks; None cuts none.
    """

    block: Path
    source: str
    outcomes: Path
    start: int
    hits: tuple[tuple[Comparison, Path], ...]
    cut_at: int | None


@dataclass(frozen=True)
class SplitPart:
    """What a split gets from one clean block.

    Attributes:
        values: the values of its LMDB.
        ids: the residues of all chunks, end to end.
        lengths: the residues of each chunk, int32 [m]; a protein that is not cut is one chunk.
        begins: whether a protein begins with the chunk, bool [m].
        protein_lengths: the residues of each protein before cutting, int32 [n].
    """

    values: list[bytes]
    ids: bytes
    lengths: np.ndarray
    begins: np.ndarray
    protein_lengths: np.ndarray


@dataclass
class SplitCounts:
    """How much is in a split.

    Attributes:
        proteins: how many there are, each counted once if it is cut.
        chunks_of_cut_proteins: how many chunks the cut ones became.
        residues: of all proteins.
        composition: how often each id occurs, int64 [SIZE].
        proteins_of_length: in place r the number of proteins that have r residues before cutting, int64.
    """

    proteins: int = 0
    chunks_of_cut_proteins: int = 0
    residues: int = 0
    composition: np.ndarray = field(default_factory=lambda: np.zeros(SIZE, dtype=np.int64))
    proteins_of_length: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def add(self, part: SplitPart) -> None:
        """Counts what the split gets from one more block."""
        self.proteins += len(part.protein_lengths)
        self.chunks_of_cut_proteins += int((~(part.begins & np.append(part.begins[1:], True))).sum())
        self.residues += len(part.ids)
        self.composition += np.bincount(np.frombuffer(part.ids, dtype=np.uint8), minlength=SIZE)
        counts = np.bincount(part.protein_lengths)
        longer, shorter = sorted((self.proteins_of_length, counts), key=len, reverse=True)
        self.proteins_of_length = longer + np.pad(shorter, (0, len(longer) - len(shorter)))


class SplitWriter:
    """A context manager that writes NAME.lmdb, NAME.bin and NAME.idx into a folder, and counts what goes in."""

    def __init__(self, folder: Path, name: str) -> None:
        self.counts = SplitCounts()
        self._lmdb = LmdbWriter(folder / f"{name}.lmdb")
        self._indexed = IndexedWriter(folder / name)

    def __enter__(self) -> "SplitWriter":
        with ExitStack() as stack:
            stack.enter_context(self._lmdb)
            stack.enter_context(self._indexed)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, part: SplitPart) -> None:
        """Appends what the split gets from one more block."""
        self._lmdb.add_values(part.values)
        self._indexed.add_block(part.ids, part.lengths, part.begins)
        self.counts.add(part)


def split_block(task: SplitTask) -> tuple[dict[str, SplitPart], str]:
    """The part of a clean block for each split, and the lines of rejected.tsv for the proteins that go to none."""
    names = block_names(task.block)
    outcomes = read_outcomes(task.outcomes, task.start, len(names))
    ids, lengths, records, rejected = read_block(task.block, "ids", "lengths", "records", "rejected")
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    parts = {
        split: _part(np.flatnonzero(outcomes == outcome), names, ids, bounds, task.cut_at)
        for split, outcome in SPLITS.items()
    }
    lines = (rejected_line(task.source, int(records[n]), names[n], *why) for n, why in _removed(task, outcomes))
    return parts, rejected.tobytes().decode() + "".join(lines)


def _part(chosen: np.ndarray, names: list[str], ids: np.ndarray, bounds: np.ndarray, cut_at: int | None) -> SplitPart:
    sequences = [ids[bounds[n] : bounds[n + 1]].tobytes() for n in chosen.tolist()]
    protein_lengths = (bounds[chosen + 1] - bounds[chosen]).astype(np.int32)
    lengths, begins = chunk_lengths(protein_lengths, cut_at or max(1, int(protein_lengths.max(initial=1))))
    values: list[bytes] = []
    for number, sequence in zip(chosen.tolist(), sequences, strict=True):
        values += _values(names[number], sequence.translate(LETTER_OF_ID).decode(), cut_at)
    return SplitPart(values, b"".join(sequences), lengths, begins, protein_lengths)


def _values(name: str, sequence: str, cut_at: int | None) -> list[bytes]:
    if cut_at is None or len(sequence) <= cut_at:
        return [to_value(name, sequence)]
    chunks = list(pairwise(chunk_bounds(len(sequence), cut_at)))
    return [
        to_value(chunk_name(name, start, stop), sequence[start:stop], (number, len(chunks)))
        for number, (start, stop) in enumerate(chunks, start=1)
    ]


def _removed(task: SplitTask, outcomes: np.ndarray) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yields for each protein removed after cleaning its number in the block, and the reason with details."""
    for number in np.flatnonzero(outcomes == DUPLICATE).tolist():
        yield number, ("duplicate", "the same sequence came before")
    for comparison, path in task.hits:
        hits = read_hits(path)
        for number in np.flatnonzero(outcomes == comparison.outcome).tolist():
            hit = hits[np.searchsorted(hits["number"], task.start + number)]
            yield number, ("homolog", f"{hit['identity']:.0%} identical to {comparison.name} protein {hit['target']}")
