"""The most similar of many references: the likely ones are found by shared words, and aligned.

A word is two neighbouring canonical residues. Where a sequence and a reference are related, their shared words lie near
one diagonal of the comparison matrix (Wilbur and Lipman, PNAS 80:726, 1983), so they are counted by bands of diagonals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.alignment import Alignment, align, similarity

NUM_CANDIDATES = 32
_BAND_DIAGONALS = 16
_NUM_WORDS = alphabet.NUM_CANONICAL**2


@dataclass(frozen=True)
class Nearest:
    """A protein's most similar reference.

    Attributes:
        number: of the reference, from 0.
        alignment: of the protein (first) with it (second).
    """

    number: int
    alignment: Alignment


class References:
    """Proteins to search, of at least one residue each; the index takes about 16 bytes per residue.

    Raises ValueError when there is none.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        if not sequences:
            raise ValueError("no reference to search")
        self.sequences = sequences
        self._lengths = np.array([len(sequence) for sequence in sequences])
        words, places = zip(*map(_words, sequences), strict=True)
        every_word = np.concatenate(words)
        by_word = np.argsort(every_word, kind="stable")
        self._owners = np.repeat(np.arange(len(words)), [len(found) for found in words])[by_word]
        self._places = np.concatenate(places)[by_word]
        self._begins = np.searchsorted(every_word[by_word], np.arange(_NUM_WORDS + 1))

    def nearest(self, sequence: str, leave_out: int | None = None) -> Nearest:
        """The reference with the best local alignment of the 32 with most words shared in a band; the first of equals.

        Args:
            sequence: of at least one residue.
            leave_out: number of a reference that does not count, such as the sequence itself.
        """
        candidates = np.argsort(-self._shared_words(sequence), kind="stable")[: NUM_CANDIDATES + 1].tolist()
        counted = sorted([number for number in candidates if number != leave_out][:NUM_CANDIDATES])
        if not counted:
            raise ValueError("no reference to search beside the one left out")
        best = max(counted, key=lambda number: similarity(sequence, self.sequences[number]))
        return Nearest(best, align(sequence, self.sequences[best]))

    def _shared_words(self, sequence: str) -> np.ndarray:
        """Per reference, the pairs of equal words in its best two neighbouring bands of diagonals."""
        num_bands = (self._lengths + len(sequence)) // _BAND_DIAGONALS + 2
        first_band = np.cumsum(num_bands) - num_bands
        hits = [np.arange(0)]
        for word, place in zip(*_words(sequence), strict=True):
            same = slice(self._begins[word], self._begins[word + 1])
            diagonals = self._places[same] - place + len(sequence)
            hits.append(first_band[self._owners[same]] + diagonals // _BAND_DIAGONALS)
        in_band = np.bincount(np.concatenate(hits), minlength=num_bands.sum())
        # the last band of each reference is empty, so that its neighbour does not matter
        return np.maximum.reduceat(in_band + np.roll(in_band, -1), first_band)


def _words(sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """The words of a sequence as numbers below 400, and the places where they begin, from 0."""
    residues = alphabet.encode(sequence).astype(np.int64) - alphabet.FIRST_CANONICAL
    words = residues[:-1] * alphabet.NUM_CANONICAL + residues[1:]
    places = np.flatnonzero(np.maximum(residues[:-1], residues[1:]) < alphabet.NUM_CANONICAL)
    return words[places], places
