"""Some proteins in numbers: how many, how long, of which residues."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.proteins.composition import composition, entropy


@dataclass(frozen=True)
class Summary:
    """Some proteins in numbers.

    Attributes:
        proteins: how many.
        distinct: different sequences among them.
        lengths: residues of each.
        composition: share of each canonical residue, [20] in the order of CANONICAL_LETTERS.
        entropy: of the residues of all proteins together, nats; log(20) is the most that 20 residues allow.
        entropy_within: of the residues of one protein, nats, mean over the proteins.
    """

    proteins: int
    distinct: int
    lengths: list[int]
    composition: np.ndarray
    entropy: float
    entropy_within: float


def summarise(sequences: Sequence[str]) -> Summary:
    """Counts what can be counted without a reference. Raises ValueError when no canonical residue is there."""
    return Summary(
        proteins=len(sequences),
        distinct=len(set(sequences)),
        lengths=[len(sequence) for sequence in sequences],
        composition=composition(sequences),
        entropy=entropy("".join(sequences)),
        entropy_within=float(np.mean([entropy(sequence) for sequence in sequences])),
    )


def divergence(shares: np.ndarray, reference: np.ndarray) -> float:
    """Jensen-Shannon divergence of two compositions, nats: 0 for the same, log(2) for nothing in common."""
    mixture = (shares + reference) / 2
    parts = [(p[p > 0] * np.log(p[p > 0] / mixture[p > 0])).sum() for p in (shares, reference)]
    return float(sum(parts) / 2)
