"""How much the residues before one tell about it: entropies of n-grams, n = 1 to 4, canonical residues inside proteins.

    H_n = - sum over n-grams g of p(g) ln p(g),    h_n = H_n - H_(n-1),    H_0 = 0,    in nats

h_n is the entropy of a residue given the n - 1 before it; exp(h_1) is the unigram perplexity. Few residues leave many
of the 20^n n-grams unseen, which makes H_n too small: trust H_4 from some ten million residues on.
"""

from collections.abc import Callable

import numpy as np

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.proteins.alphabet import CANONICAL, NUM_CANONICAL

LONGEST = 4
_RESIDUES_AT_ONCE = 1 << 20


def ngram_counts(
    proteins: IndexedProteins, advance: Callable[[int], object] = lambda num_residues: None
) -> list[np.ndarray]:
    """How often each n-gram occurs, a list of int64 [20^n] for n = 1 to 4.

    An n-gram is in the place that its letters spell in base 20. `advance` is told how many residues were read.
    """
    counts = [np.zeros(NUM_CANONICAL**n, dtype=np.int64) for n in range(1, LONGEST + 1)]
    start = 0
    for lengths, offsets in proteins.pieces():
        borders = np.flatnonzero(np.diff(offsets // _RESIDUES_AT_ONCE)) + 1
        for some in np.split(lengths, borders):
            residues = proteins.residues[start : start + int(some.sum())]
            _count(residues, some, counts)
            advance(len(residues))
            start += len(residues)
    return counts


def entropies(counts: list[np.ndarray]) -> list[float]:
    """H_n in nats of the n-grams that were counted; it is 0 where there are none."""
    return [_entropy(own[own > 0] / max(1, own.sum())) for own in counts]


def _count(residues: np.ndarray, lengths: np.ndarray, counts: list[np.ndarray]) -> None:
    letters = residues.astype(np.int64) - CANONICAL.start
    canonical = (letters >= 0) & (letters < NUM_CANONICAL)
    ends = np.cumsum(lengths).repeat(lengths)  # of the protein that each residue belongs to
    to_the_end = ends - np.arange(len(residues))
    codes, whole = letters, canonical
    for n, own in enumerate(counts, start=1):
        if n > 1:
            codes = codes[:-1] * NUM_CANONICAL + letters[n - 1 :]
            whole = whole[:-1] & canonical[n - 1 :]
        inside = whole & (to_the_end[: len(whole)] >= n)
        own += np.bincount(codes[inside], minlength=len(own))


def _entropy(probabilities: np.ndarray) -> float:
    return float(-(probabilities * np.log(probabilities)).sum())
