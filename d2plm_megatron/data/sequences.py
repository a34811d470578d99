"""From proteins as people have them, letters or files or lengths to fill, to packs: the way into a trained model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.assembly import ScoredTokens, assemble_parts
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.proteins.prompt import BLANK

TOKENS_PER_PACK = 8192
"""What goes through an encoder at once where nothing else is said."""

Sequences = Iterable[str | tuple[str, str] | int] | IndexedProteins | Path
"""Proteins as letters, as (id, letters) such as `read_fasta` yields, as a number of blanks, an indexed dataset, or the
Path of a FASTA file."""


@dataclass(frozen=True)
class PackedSequences:
    """Proteins in packs, in the order in which they were given.

    Attributes:
        ids: of each protein: as given, its number in an indexed dataset, or sequence_1, sequence_2, ...
        packs: protein i of all packs, one after the other, is ids[i]. Its sample id and stream index are i.
    """

    ids: tuple[str, ...]
    packs: tuple[TokenBatch, ...]


@dataclass(frozen=True)
class _Protein:
    name: str
    residues: np.ndarray
    has_begin: bool = True
    has_end: bool = True

    @property
    def tokens(self) -> np.ndarray:
        return np.array(
            [*[alphabet.CLS] * self.has_begin, *self.residues, *[alphabet.EOS] * self.has_end], dtype=np.int64
        )


def pack_sequences(
    sequences: Sequences, tokens_per_pack: int = TOKENS_PER_PACK, max_residues: int | None = None, crop: bool = False
) -> PackedSequences:
    """Packs proteins end to end, each with its end tokens, in the order given; no pack has a tail of padding.

    Letters may be of either case; "_" is a mask. Of a protein with masks these are scored, of any other its canonical
    residues.

    Args:
        sequences: the proteins.
        tokens_per_pack: at most, unless a single protein has more.
        max_residues: of a protein; None for what fits into a pack.
        crop: of longer ones keep the first `max_residues`, instead of refusing them.

    Raises ValueError naming the protein that is too long or empty, or the letter and position (from 1) that are wrong.
    """
    longest = tokens_per_pack - 2 if max_residues is None else max_residues
    proteins = [_shortened(protein, longest, crop) for protein in _proteins(sequences)]
    packs = list(in_order(map(_part, proteins), lambda part: len(part[0]), tokens_per_pack))
    first = accumulate(map(len, packs), initial=0)
    return PackedSequences(tuple(protein.name for protein in proteins), tuple(map(assemble_parts, packs, first)))


def _proteins(sequences: Sequences) -> Iterator[_Protein]:
    if isinstance(sequences, str):
        raise ValueError(
            f"{_start_of(sequences)}: a single protein; give a list of proteins, such as [protein], or Path('x.fasta')"
        )
    if isinstance(sequences, IndexedProteins):
        chosen = np.arange(len(sequences))
        ends = zip(sequences.begins_protein(chosen), sequences.ends_protein(chosen), strict=True)
        for number, (begins, stops) in enumerate(ends):
            yield _Protein(str(number), residues_of(sequences, number), bool(begins), bool(stops))
        return
    for number, given in enumerate(read_fasta(sequences) if isinstance(sequences, Path) else sequences, start=1):
        name, letters = given if isinstance(given, tuple) and len(given) == 2 else (f"sequence_{number}", given)
        yield _Protein(name, encoded(name, letters))


def residues_of(sequences: IndexedProteins, number: int) -> np.ndarray:
    """The residues of a protein, or chunk, of a dataset, uint8. Raises ValueError naming an id that is none."""
    residues = sequences[number]
    wrong = np.flatnonzero((residues < alphabet.RESIDUES.start) | (residues >= alphabet.RESIDUES.stop))
    if wrong.size:
        raise ValueError(sequences.no_residue(number, int(wrong[0])))
    return residues


def encoded(name: str, letters: object) -> np.ndarray:
    """Ids of a protein's letters, of which "_" is a mask, or of so many masks, uint8.

    Raises ValueError naming the protein.
    """
    if isinstance(letters, int) and not isinstance(letters, bool) and letters >= 0:
        return np.full(letters, alphabet.MASK, dtype=np.uint8)
    if not isinstance(letters, str):
        raise ValueError(f"{name}: {_what(letters)} instead of letters, such as 'MKTV'")
    letters = letters.upper() if letters.isascii() else letters
    try:
        residues = alphabet.encode(letters.replace(BLANK, "X"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}; {BLANK} is a mask") from None
    return np.where(np.array([letter == BLANK for letter in letters], dtype=bool), np.uint8(alphabet.MASK), residues)


def _what(given: object) -> str:
    return str(given) if isinstance(given, int | tuple) else type(given).__name__


def _shortened(protein: _Protein, longest: int, crop: bool) -> _Protein:
    number = len(protein.residues)
    if not number:
        raise ValueError(f"{protein.name}: no residues in it; leave it out")
    if number <= longest:
        return protein
    if not crop:
        raise ValueError(
            f"{protein.name}: {number:,} residues, and {longest:,} fit: give tokens_per_pack={number + 2}, "
            "or a part of it"
        )
    return _Protein(protein.name, protein.residues[:longest], protein.has_begin, has_end=False)


def _part(protein: _Protein) -> ScoredTokens:
    tokens, is_mask = protein.tokens, protein.tokens == alphabet.MASK
    return tokens, is_mask if is_mask.any() else alphabet.is_canonical(tokens)


def _start_of(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:20]}..."
