"""Confidence, margin, entropy: the path says how many masks are filled in a step, the model which.

As many masks are left as the path expects, L (1 - kappa_s), rounded, in each protein. Those come first whose posterior
is the most certain: by its greatest probability, by the distance between the two greatest (arXiv:2502.06768), or by its
entropy. The order is that of the posterior and not of the residues that were drawn, so that drawing one at a time from
an exact posterior gives the distribution itself, whatever the order; with several at a time the error is that of
drawing them apart, which is least where they are nearly certain.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.special import entr

from d2plm_megatron.per_protein import in_order, ranks, sums_of
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.step import Step, log_of

CERTAINTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "confidence": lambda posterior_TV: log_of(posterior_TV.amax(-1)),
    "margin": lambda posterior_TV: posterior_TV.topk(2, -1).values.diff(dim=-1)[:, 0].neg(),
    "entropy": lambda posterior_TV: entr(posterior_TV).sum(-1).neg(),
}
"""How certain a posterior [T, 20] is, [T]: more is more."""


class Ordered:
    """Fills masks by certainty.

    Args:
        certainty: one of CERTAINTIES.
        noise: Gumbel noise of this scale, times 1 - t, in the order.
    """

    def __init__(self, certainty: str, noise: float) -> None:
        self._certainty, self._noise = CERTAINTIES[certainty], noise

    def step(self, here: Step) -> Tensor:
        """Fills what the path expects."""
        masks_T = here.candidates_T
        number_S = (sums_of(here.pack, masks_T) - here.masks_left()).clamp(min=0)
        asked_T = masks_T & (number_S > 0)[here.pack.sequence_T]
        if not asked_T.any():
            return here.tokens_T
        score_T = self._certainty(here.posterior(asked_T)) - (1 - here.t) * self._noise * gumbel(here)
        order_T = in_order(here.pack, score_T.masked_fill(~masks_T, -torch.inf), here.uniform(Stream.CHOICE))
        return here.redrawn(asked_T & (ranks(here.pack, order_T) < number_S[here.pack.sequence_T]))


def gumbel(here: Step) -> Tensor:
    """log(-log u) of each token, [T]: the negative of a Gumbel number."""
    return here.uniform(Stream.CHOICE).log().neg().log()
