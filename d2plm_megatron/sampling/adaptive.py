"""Adaptive: as many masks of a protein are filled at once as a bound allows, so that certain ones take few evaluations.

    entropy      the most certain whose entropies, but for the greatest, have a sum of at most the bound: more than what
                 drawing them apart costs, in nats of divergence (arXiv:2505.24857)
    confidence   all whose greatest probability is at least 1 - bound (arXiv:2505.22618)

At least one is filled, and at least so many that the protein is done in the number of steps that was asked for, which
so is a limit. With a bound of 0, and steps enough, residues are drawn one at a time, which is exact for an exact
posterior. The schedule of the temperature goes by the time at which a protein has as many masks on average.
"""

import torch
from torch import Tensor
from torch.special import entr

from d2plm_megatron.objectives.any_order import time_of_masks
from d2plm_megatron.per_protein import in_order, ranks, sums_of
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.step import Step


class Adaptive:
    """Fills what the bound allows.

    Args:
        criterion: entropy or confidence.
        bound: in nats, or of 1 - the greatest probability.
    """

    def __init__(self, criterion: str, bound: float) -> None:
        self._criterion, self._bound = criterion, bound

    def step(self, here: Step) -> Tensor:
        """Fills some in every protein that has masks."""
        masks_T, pack = here.candidates_T, here.pack
        if not masks_T.any():
            return here.tokens_T
        posterior_TV = here.posterior(masks_T, time_of_masks(here.path.schedule, here.tokens_T, pack))
        doubt_T = entr(posterior_TV).sum(-1) if self._criterion == "entropy" else 1 - posterior_TV.amax(-1)
        order_T = in_order(pack, (-doubt_T).masked_fill(~masks_T, -torch.inf), here.uniform(Stream.CHOICE))
        allowed_T = self._before(pack.lengths_S, order_T, doubt_T) <= self._bound
        steps_left = here.num_steps - here.number
        forced_S = (sums_of(pack, masks_T) + steps_left - 1) // steps_left
        fills_T = masks_T & (allowed_T | (ranks(pack, order_T) < forced_S[pack.sequence_T]))
        return torch.where(fills_T, here.draw(posterior_TV), here.tokens_T)

    def _before(self, lengths_S: tuple[int, ...], order_T: Tensor, doubt_T: Tensor) -> Tensor:
        """What must not exceed the bound for a token to be filled, [T].

        Of entropies the sum over all that are more certain in its protein: the sum with it, less the greatest, its own.
        """
        if self._criterion == "confidence":
            return doubt_T
        parts = doubt_T[order_T].split(lengths_S)  # each summed by itself, so that rounding knows no company
        return torch.empty_like(doubt_T).scatter_(0, order_T, torch.cat([part.cumsum(0) - part for part in parts]))
