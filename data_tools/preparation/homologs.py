"""Homologs: training proteins that resemble a held-out protein, and validation proteins that resemble a test protein.

They are left out; with them an evaluation would measure memory as much as understanding. The held-out proteins are the
targets of the search and the others its queries, as for ESM-2 (Lin et al., Science 379:1123, 2023): sensitivity 7, at
most 300 candidates, coverage of both proteins. One match is enough to leave a protein out, so that its search ends
there. The test side comes first, so that a validation protein that is left out takes no training protein with it.
Groups of clean blocks are searched one after the other, and the hits of each group stay in a file of their own, so that
a kill costs one group.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.files import atomic
from d2plm_megatron.proteins.alphabet import LETTER_OF_ID
from d2plm_megatron.proteins.mmseqs import SearchOptions, search, write_numbered

from .clean_blocks import read_block
from .hold_out import TEST, TRAINING, VALIDATION, HoldOut
from .outcomes import HOMOLOG, HOMOLOG_OF_TEST, read_outcomes

_HIT = np.dtype([("number", "<i8"), ("target", "<i8"), ("identity", "<f4")])


@dataclass(frozen=True)
class Comparison:
    """A search for homologs.

    Attributes:
        name: of the side that they may not resemble.
        targets: that side.
        queries: the sides that they are looked for on.
        outcome: what becomes of them.
    """

    name: str
    targets: int
    queries: tuple[int, ...]
    outcome: int


_WITH_TEST = Comparison("test", TEST, (TRAINING, VALIDATION), HOMOLOG_OF_TEST)
_WITH_VALIDATION = Comparison("validation", VALIDATION, (TRAINING,), HOMOLOG)


def comparisons(hold_out: HoldOut) -> list[Comparison]:
    """The searches that make each side free of homologs of the sides held out from it, in their order."""
    return [_WITH_TEST] * bool(hold_out.test) + [_WITH_VALIDATION] * bool(hold_out.fraction)


def numbers_with(wanted: Collection[int], outcomes: Path, start: int, stop: int) -> np.ndarray:
    """The numbers, from `start` up to `stop`, of the proteins that have one of these outcomes, int64."""
    numbers: np.ndarray = np.flatnonzero(np.isin(read_outcomes(outcomes, start, stop - start), list(wanted))) + start
    return numbers


def sequences_with(wanted: Collection[int], outcomes: Path, blocks: Iterable[Path], start: int) -> Iterator[str]:
    """Yields the sequences of the proteins in clean blocks with one of these outcomes; the first protein is `start`."""
    for block in blocks:
        ids, lengths = read_block(block, "ids", "lengths")
        bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        for number in numbers_with(wanted, outcomes, start, start + len(lengths)) - start:
            yield ids[bounds[number] : bounds[number + 1]].tobytes().translate(LETTER_OF_ID).decode()
        start += len(lengths)


def find_homologs(
    hits: Path, numbers: np.ndarray, sequences: Iterable[str], targets: Path, options: SearchOptions, threads: int
) -> None:
    """Searches for proteins, given by numbers and sequences, among the targets; writes hits as read_hits reads them.

    `targets` is a file of mmseqs.write_numbered. Raises what mmseqs.search raises.
    """
    queries = hits.with_suffix(".fasta")
    write_numbered(queries, sequences)
    matches = search(queries, targets, options, threads)
    found = np.empty(len(matches), dtype=_HIT)
    found["number"] = numbers[matches["query"]]
    found["target"], found["identity"] = matches["target"], matches["identity"]
    with atomic(hits) as (temporary,), temporary.open("wb") as file:
        np.save(file, found)
    queries.unlink()


def read_hits(hits: Path) -> np.ndarray:
    """What `find_homologs` wrote: number of the protein, number of its target, fraction of identical residues.

    Raises ValueError naming the file if it is damaged or gone.
    """
    try:
        with hits.open("rb") as file:
            found: np.ndarray = np.lib.format.read_array(file)
    except (ValueError, EOFError, OSError, MemoryError):
        found = np.empty(0)
    if found.dtype != _HIT or found.ndim != 1 or (np.diff(found["number"]) < 0).any():
        raise ValueError(f"{hits}: damaged; remove it, and the same command makes it again")
    return found


def are_hits(hits: Path, first: int, last: int) -> bool:
    """Whether a file holds hits of the proteins `first` up to `last`."""
    try:
        numbers = read_hits(hits)["number"]
    except ValueError:
        return False
    return not len(numbers) or bool(first <= numbers[0] and numbers[-1] < last)
