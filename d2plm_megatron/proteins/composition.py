"""How common each residue is, and how even the odds are."""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS


def composition(sequences: Iterable[str]) -> np.ndarray:
    """Share of each canonical residue, float64 [20] in the order of CANONICAL_LETTERS; the shares sum to 1.

    Other letters are left out. Raises ValueError when no canonical residue is there.
    """
    letters: Counter[str] = Counter()
    for sequence in sequences:
        letters.update(sequence)
    counts = np.array([letters[letter] for letter in CANONICAL_LETTERS], dtype=np.float64)
    if not counts.any():
        raise ValueError("no canonical residue in these sequences, so they have no composition")
    return counts / counts.sum()


def entropy(letters: str) -> float:
    """Of the distribution of letters, nats."""
    counts = Counter(letters).values()
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)
