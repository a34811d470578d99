"""Two models on the same proteins with the same noise: what is left of the error when one is taken from the other.

Proteins that are hard are hard for both, and so are draws of noise. Their difference spreads far less than either.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from d2plm_megatron.evaluation.student import student_95
from d2plm_megatron.inference.draws import Draws

FEW = 10
"""Proteins below which a verdict says how few they are."""


@dataclass(frozen=True)
class Difference:
    """Of a model to another, the first: negative where the model is better.

    Attributes:
        draws: the nats of the model less those of the first, of the same proteins and draws.
    """

    draws: Draws

    @classmethod
    def between(cls, first: Draws, other: Draws) -> "Difference":
        """Of `other` to `first`. Raises ValueError when they are not of the same residues of the same proteins."""
        if first.residues.shape != other.residues.shape or (first.residues != other.residues).any():
            raise ValueError("the two were not measured at the same residues, so that there is nothing to compare")
        if first.standard_error is None:
            raise ValueError("one draw of one protein tells no error; take --draws 2 or more, or more proteins")
        return cls(Draws(other.nats - first.nats, first.residues))

    @classmethod
    def to_one_draw(cls, first: Draws, other: Draws) -> "Difference":
        """Of `other` to what has no noise, and therefore one draw, such as the nats of an n-gram."""
        both = np.ones((1, other.num_draws), dtype=np.int64)
        return cls.between(Draws(first.nats * both, first.residues * both), other)

    @property
    def nats(self) -> float:
        """Per residue."""
        return self.draws.nats_per_residue

    @property
    def standard_error(self) -> float:
        """Of the draws and of the proteins together, nats per residue."""
        return self.draws.standard_error or 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95%, for other proteins of the kind and other noise, by Student's t; None of one protein."""
        if (proteins := len(self.draws.nats)) == 1:
            return None
        reach = student_95(proteins - 1) * self.standard_error
        return self.nats - reach, self.nats + reach

    @property
    def share_better(self) -> float:
        """Of the proteins, those of which the model gives more than the first; of equal ones half."""
        nats_P = self.draws.nats.sum(1)
        return float(np.mean((nats_P < 0) + 0.5 * (nats_P == 0)))

    def verdict(self, name: str, first: str) -> str:
        """In words."""
        amount = f"{abs(self.nats):.4f} +- {self.standard_error:.4f} nats per residue"
        if not self.draws.nats.any():
            return f"{name} and {first} give the same to the last digit"
        if self.interval is None:
            return f"{name} and {first} differ by {amount} on one protein, which tells nothing about others"
        low, high = self.interval
        few = f", of {len(self.draws.nats)} proteins alone" * (len(self.draws.nats) < FEW)
        if high < 0 or low > 0:
            return f"{name if high < 0 else first} is better than {first if high < 0 else name} by {amount}{few}"
        noisy = (self.draws.error_of_draws or 0.0) > (self.draws.error_of_proteins or 0.0)
        return f"{name} and {first} cannot be told apart: {amount}{few}; more {'--draws' if noisy else 'proteins'} may"

    def as_json(self) -> dict[str, Any]:
        """All of it but the words."""
        return {
            "nats_per_residue": self.nats,
            "standard_error": self.standard_error,
            "error_of_draws": self.draws.error_of_draws,
            "error_of_proteins": self.draws.error_of_proteins,
            "interval": self.interval and list(self.interval),
            "share_better": self.share_better,
        }
