"""Novelty: identity to the nearest reference, between two marks that give it a meaning.

They are what shuffled samples reach, which have the samples' composition and no order, and what the references reach
among each other.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.proteins.named import Protein
from d2plm_megatron.proteins.nearest import Nearest, References

NUM_BASELINE = 256
"""Shuffled samples, and references looked up among the others, at most."""

SEED = 0
UNNAMED = "not named"
CHANCE_QUANTILE = 0.99


def shuffled(sequences: Sequence[str], number: int, seed: int = SEED) -> list[str]:
    """`number` sequences with their residues in random order, each given one in turn; the same seed, the same order."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.permutation(list(sequences[i % len(sequences)]))) for i in range(number)]


@dataclass(frozen=True)
class Novelty:
    """How near samples are to a reference, and what that means; identities are shares of the shorter protein.

    Attributes:
        nearest: of each sample.
        shuffled: identity of shuffled samples to their nearest reference.
        natural: identity of references to the nearest other one.
    """

    nearest: list[Nearest]
    shuffled: np.ndarray
    natural: np.ndarray

    @property
    def identities(self) -> np.ndarray:
        """Of each sample to its nearest reference."""
        return np.array([found.alignment.identity for found in self.nearest])

    @property
    def chance(self) -> float:
        """Identity that 99 % of the shuffled samples stay below."""
        return float(np.quantile(self.shuffled, CHANCE_QUANTILE))

    @property
    def is_recognised(self) -> np.ndarray:
        """Per sample, whether it is nearer to the reference than chance explains."""
        return self.identities > self.chance

    def ranked(self) -> list[int]:
        """Numbers of the samples, the one with the highest identity first."""
        return np.argsort(-self.identities, kind="stable").tolist()


def measure_novelty(
    samples: Sequence[str], references: Sequence[str], advance: Callable[[int], None] = lambda amount: None
) -> Novelty:
    """Looks up every sample, shuffled samples and some references; takes about 20 ms for each.

    Args:
        samples: at least one.
        references: at least two, or there is nothing to compare a reference with.
        advance: called with 1 after each look-up; there are num_lookups.
    """
    index = References(references)

    def look_up(sequence: str, leave_out: int | None = None) -> Nearest:
        found = index.nearest(sequence, leave_out)
        advance(1)
        return found

    return Novelty(
        nearest=[look_up(sample) for sample in samples],
        shuffled=np.array([look_up(sample).alignment.identity for sample in shuffled(samples, NUM_BASELINE)]),
        natural=np.array([look_up(references[i], i).alignment.identity for i in _spread(len(references))]),
    )


def num_lookups(num_samples: int, num_references: int) -> int:
    """How many proteins measure_novelty looks up."""
    return num_samples + NUM_BASELINE + len(_spread(num_references))


@dataclass(frozen=True)
class Family:
    """A family of the reference.

    Attributes:
        name: "not named" for proteins whose header names none.
        samples: recognised samples whose nearest reference belongs to it.
        expected: how many that would be if samples fell on families as the reference does.
    """

    name: str
    samples: int
    expected: float


def count_families(novelty: Novelty, references: Sequence[Protein]) -> list[Family]:
    """Every family of the reference, the one with most samples first."""
    family_of = [protein.family or UNNAMED for protein in references]
    pairs = zip(novelty.nearest, novelty.is_recognised, strict=True)
    counts = Counter(family_of[found.number] for found, recognised in pairs if recognised)
    share = counts.total() / len(references)
    families = [Family(name, counts[name], number * share) for name, number in Counter(family_of).items()]
    return sorted(families, key=lambda family: (-family.samples, family.name))


def _spread(number: int) -> list[int]:
    """Up to NUM_BASELINE different numbers below the given one, evenly spaced."""
    return np.unique(np.linspace(0, number - 1, min(number, NUM_BASELINE)).astype(int)).tolist()
