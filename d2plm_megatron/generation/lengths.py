"""Lengths to draw: a number, a range, or as they are in a FASTA file or in the training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.whole import whole_lengths
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES

TRAINING = "training"
"""Means the proteins that a model was trained on."""

LIKE = "like:"
"""Begins a --length that is as in some proteins."""


class Lengths(Protocol):
    """A distribution of lengths, in residues.

    Attributes:
        shortest: that can be drawn.
        longest: that can be drawn.
    """

    @property
    def shortest(self) -> int: ...  # noqa: D102

    @property
    def longest(self) -> int: ...  # noqa: D102

    def drawn(self, uniform: float) -> int:
        """The length at this place of the cumulative distribution, in (0, 1)."""
        ...


@dataclass(frozen=True)
class EvenLengths:
    """All lengths from the shortest to the longest with even odds."""

    shortest: int
    longest: int

    def drawn(self, uniform: float) -> int:
        """The shortest, and so large a part of what the longest has more."""
        return self.shortest + int(uniform * (self.longest - self.shortest + 1))


@dataclass(frozen=True)
class EmpiricalLengths:
    """Lengths as often as some proteins have them.

    Args:
        weights: of each length from 0, float64.
    """

    weights: np.ndarray

    @property
    def shortest(self) -> int:
        """That any of them has."""
        return int(np.flatnonzero(self.weights)[0])

    @property
    def longest(self) -> int:
        """That any of them has."""
        return int(np.flatnonzero(self.weights)[-1])

    def drawn(self, uniform: float) -> int:
        """By inverting the cumulative distribution."""
        return min(int(np.searchsorted(self._cumulative, uniform * self._cumulative[-1])), self.longest)

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.cumsum(self.weights)


def read_lengths(text: str, training: Data) -> Lengths:
    """The lengths that an option means: "120", "100:200", "like:x.fasta", "like:PREFIX" or "like:training".

    Args:
        text: the option.
        training: what the model was trained on.

    Raises ValueError or OSError for what is none, what no protein is as long as, or data that are not there.
    """
    if not text.startswith(LIKE):
        return EvenLengths(*length_range("--length", text))
    if (name := text.removeprefix(LIKE)) == TRAINING:
        sources = trained_on(training).sources
        parts = [(float(source.share), whole_lengths(IndexedProteins(source.prefix))) for source in sources]
    else:
        parts = [(1.0, whole_lengths(name))]
    return EmpiricalLengths(_weights(text, parts))


def length_range(option: str, text: str) -> tuple[int, int]:
    """The least and the greatest number of residues of "120" or "100:200". Raises ValueError, with the option."""
    low, _, high = text.partition(":")
    try:
        shortest, longest = int(low), int(high or low)
    except ValueError:
        shortest = longest = 0
    if not 1 <= shortest <= longest:
        raise ValueError(f"{option} {text}: write a number of residues such as 120, or a range such as 100:200")
    if longest > LONGEST_RESIDUES:
        raise ValueError(f"{option} {text}: no protein has more than {LONGEST_RESIDUES:,} residues")
    return shortest, longest


def trained_on(training: Data) -> Data:
    """The same data. Raises ValueError when a model does not say what it was trained on."""
    if not training.sources:
        raise ValueError(f"{TRAINING}: this model does not say what it was trained on; name a FASTA file or a prefix")
    return training


def _weights(text: str, parts: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """How often each length is to be drawn, from shares and the lengths of what has them."""
    longest = max(int(lengths.max()) for _, lengths in parts)
    if longest > LONGEST_RESIDUES or min(int(lengths.min()) for _, lengths in parts) < 1:
        raise ValueError(f"--length {text}: a protein there has no residues, or more than {LONGEST_RESIDUES:,}")
    return sum(
        (share * np.bincount(lengths, minlength=longest + 1) / len(lengths) for share, lengths in parts),
        np.zeros(longest + 1),
    )
