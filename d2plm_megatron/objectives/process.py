"""The process that a trained encoder belongs to: along which path it generates, and how its likelihood is measured.

This is all that evaluation and generation ask for. What only training needs, such as a teacher, is never loaded here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.any_order import AnyOrder
from d2plm_megatron.objectives.evidence import log_posterior
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.objectives.path import MixturePath, Path
from d2plm_megatron.objectives.schedules import Polynomial
from d2plm_megatron.objectives.source import Mask
from d2plm_megatron.rng import KeyedRng


class Process(Protocol):
    """How an encoder turns noise into proteins, and what is reported of it on held-out proteins."""

    @property
    def path(self) -> Path:
        """The path along which the encoder turns noise into proteins."""
        ...

    def likelihoods(self) -> dict[str, Objective]:
        """What is reported on held-out proteins: objectives by name, of whose metric "nll" exp is a perplexity.

        The first decides which checkpoint is best. "elbo" is always among them: its nats are, in expectation, the
        negative ELBO per residue, which can be compared between models however they were trained.
        """
        ...


@dataclass(frozen=True)
class PathProcess:
    """A process that follows a path, and is measured by the bound that belongs to it.

    Args:
        path: to generate along.
        likelihoods_before: what is reported before "elbo", the first of which then decides which checkpoint is best.
    """

    path: Path
    likelihoods_before: Mapping[str, Objective] = field(default_factory=dict)

    def likelihoods(self) -> dict[str, Objective]:
        """Those given, and the bound: over all orders of filling masks, or along a path that has none."""
        bound = AnyOrder(self.path.schedule) if self.path.has_masks else NegativeELBO(self.path.for_likelihood())
        return {**self.likelihoods_before, "elbo": bound}


@dataclass(frozen=True)
class NegativeELBO:
    """The bound along a path as an objective: what is reported, and nothing to weigh.

    Args:
        path: along which it is taken.
    """

    path: Path

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws x_t along the path."""
        return self.path.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The negative ELBO per residue, to its end. It has no gradient: nothing is trained on it."""
        total, count = self.path.nll(log_posterior(self.path, logits_TV, noisy), noisy)
        return LossTerms(total=total, count=count, metrics={"nll": (total, count)})


FROM_MASKS = MixturePath(Polynomial(), Mask(), time_epsilon=0.0)
"""The path of an encoder that fills masks without knowing the time, such as one trained by MLM."""
