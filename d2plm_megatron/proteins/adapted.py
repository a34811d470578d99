"""N-grams that adapt to a protein: they count its own residues as they go, too.

    p(x | h, y)  in proportion to  p_n(x | h) p_y(x) / p_1(x),    p_y(x) = (c_y(x) + s p_1(x)) / (|y| + s)

h is the context of n - 1 letters and y all residues of the protein so far: its composition scales what the n-gram says
(dynamic marginals: Kneser, Peters and Klakow, Eurospeech 1997, with exponent 1). On proteins without relatives in the
training data this tells more than the context does, and a neural model that has not learnt it is easily beaten.

The strength s of each order is chosen on every tenth protein, with n-grams of the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.proteins.alphabet import FIRST_CANONICAL, NUM_CANONICAL
from d2plm_megatron.proteins.ngrams import NGrams

STRENGTHS = tuple(2.0 ** (half / 2) for half in range(26, 5, -1))
"""What is chosen from, in residues."""

TENTH = 10
MOST_TRIED = 1000
"""Proteins of the tenth that strengths are chosen on, at most."""


@dataclass(frozen=True)
class AdaptedNGrams:
    """N-grams of all orders up to one, and how strongly each holds against the composition of a protein.

    Attributes:
        ngrams: what is adapted.
        strengths: s of each order, in residues.
    """

    ngrams: NGrams
    strengths: tuple[float, ...]

    @classmethod
    def fit(cls, proteins: Sequence[np.ndarray], ngrams: NGrams) -> "AdaptedNGrams":
        """Chooses strengths for n-grams of proteins, which are given as ids, uint8 [L] each."""
        rest = [protein for number, protein in enumerate(proteins) if number % TENTH]
        of_rest = NGrams.fit(rest, ngrams.order) if len(rest) > 1 else ngrams
        tenth = proteins[::TENTH][:MOST_TRIED]
        tried = np.zeros((len(STRENGTHS), ngrams.order))
        for protein in tenth:
            distributions = of_rest.distributions(protein)
            tried += [_nats(distributions, distributions[0], protein, each).sum(axis=1) for each in STRENGTHS]
        return cls(ngrams, tuple(STRENGTHS[best] for best in tried.argmin(axis=0)))

    def nats_of_orders(self, residues: np.ndarray) -> np.ndarray:
        """-ln p of each canonical residue of a protein given all before it, for each order: float64 [n, P].

        `residues` are ids, uint8 [L]; P of them are canonical.
        """
        distributions = self.ngrams.distributions(residues)
        each = zip(distributions, self.strengths, strict=True)
        return np.stack([_nats(own, distributions[0], residues, strength) for own, strength in each])


def _nats(distributions: np.ndarray, unigrams: np.ndarray, residues: np.ndarray, strength: float) -> np.ndarray:
    """Nats of canonical residues by distributions, float64 [..., P, 20], once adapted: float64 [..., P].

    `unigrams` is p_1, float64 [P, 20].
    """
    numbers = residues.astype(np.int64) - FIRST_CANONICAL
    numbers = numbers[(numbers >= 0) & (numbers < NUM_CANONICAL)]
    there = np.eye(NUM_CANONICAL)[numbers]
    so_far = there.cumsum(axis=0) - there
    ratio = (so_far / unigrams + strength) / (np.arange(len(numbers))[:, None] + strength)
    adapted = distributions * ratio
    found: np.ndarray = -np.log((adapted * there).sum(axis=-1) / adapted.sum(axis=-1))
    return found
