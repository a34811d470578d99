"""Whole proteins of a FASTA file or of an indexed dataset, in which the chunks of a protein that was cut are one again.

Neither torch nor Megatron is needed here.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.files import is_file
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.proteins.named import Protein, each_protein

Proteins = str | Path | IndexedProteins
"""A FASTA file, plain or compressed, the prefix of an indexed dataset, or a dataset that is open."""

Choice = Callable[[int], Iterable[int]]
"""Which of so many proteins are wanted, by their place from 0."""

_RESIDUES = bytes(range(alphabet.RESIDUES.start, alphabet.RESIDUES.stop))


def is_fasta(named: str | Path) -> bool:
    """Whether this is a file of proteins, and not the prefix of a dataset, nor one of its files."""
    return is_file(named) and Path(named).suffix not in (".bin", ".idx")


def read_whole(proteins: Proteins, choose: Choice | None = None) -> Iterator[Protein]:
    """Yields proteins in their order; those of a dataset are named by their number.

    Args:
        proteins: where they are.
        choose: which of them; None for all.

    Raises what each_protein or IndexedProteins raises, and ValueError naming a protein with an id that is no residue.
    """
    if isinstance(proteins, IndexedProteins):
        yield from _of_dataset(proteins, choose)
    elif not is_fasta(proteins):
        yield from _of_dataset(IndexedProteins(proteins), choose)
    elif choose is None:
        yield from each_protein(Path(proteins))
    else:
        wanted = frozenset(choose(sum(1 for _ in read_records(proteins))))
        yield from each_protein(Path(proteins), wanted.__contains__)


def whole_lengths(proteins: Proteins) -> np.ndarray:
    """The residues of each protein, int64, without reading those of a dataset. Raises what read_whole raises."""
    if not isinstance(proteins, IndexedProteins):
        if is_fasta(proteins):
            return np.array([len(protein.sequence) for protein in each_protein(Path(proteins))])
        proteins = IndexedProteins(proteins)
    lengths = np.concatenate([lengths for lengths, _ in proteins.pieces()])
    if proteins.num_documents == len(proteins):
        return lengths
    return np.add.reduceat(lengths, np.concatenate(list(proteins.document_starts())))


def _of_dataset(chunks: IndexedProteins, choose: Choice | None) -> Iterator[Protein]:
    is_wanted = np.full(chunks.num_documents, choose is None)
    is_wanted[list(choose(chunks.num_documents)) if choose else []] = True
    first = protein = 0
    letters = ""
    for lengths, offsets in chunks.pieces():
        numbers = np.arange(first, first + len(lengths))
        ends = chunks.ends_protein(numbers)
        proteins = protein + np.cumsum(ends) - ends
        first, protein = first + len(lengths), protein + int(ends.sum())
        wanted = is_wanted[proteins]
        told = (of[wanted].tolist() for of in (numbers, offsets, offsets + lengths, proteins, ends))
        for number, begin, end, owner, is_last in zip(*told, strict=True):
            letters += _letters(chunks, number, chunks.residues[begin:end].tobytes())
            if is_last:
                yield Protein(str(owner), None, letters)
                letters = ""


def _letters(chunks: IndexedProteins, number: int, residues: bytes) -> str:
    if wrong := residues.translate(None, _RESIDUES):
        raise ValueError(chunks.no_residue(number, residues.index(wrong[0])))
    return residues.translate(alphabet.LETTER_OF_ID).decode("ascii")
