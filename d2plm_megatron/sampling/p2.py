"""P2, path planning with the model as its own planner (arXiv:2502.03540).

In every step each mask gets a draw from the posterior, and each scored token a score: log p of the draw for a mask, and
eta log p of what stands there for the others. As many as the path has masks left, those of the least score, are masked
or stay so. With eta = 0 nothing is masked again; above 1 old residues are more readily masked than new ones.

p of what stands there is what the model says about a residue that it sees: models that learn from masks alone were not
trained to say it, though such a planner was found to work there too.
"""

import torch
from torch import Tensor

from d2plm_megatron.per_protein import any_of, in_order, ranks
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.step import Step, at_ids, log_of


class P2:
    """Masks anew what is least likely.

    Args:
        eta: of what stands there, the share of its log p that counts.
    """

    def __init__(self, eta: float) -> None:
        self._eta = eta

    def step(self, here: Step) -> Tensor:
        """Fills all masks, and masks the least likely."""
        masks_T, scored_T, pack = here.candidates_T, here.pack.scored_T, here.pack
        alive_T = scored_T & any_of(pack, masks_T)[pack.sequence_T]
        if not alive_T.any():
            return here.tokens_T
        posterior_TV = here.posterior(alive_T)
        filled_T = torch.where(masks_T, here.draw(posterior_TV), here.tokens_T)
        log_p_T = log_of(at_ids(posterior_TV, filled_T))
        score_T = torch.where(masks_T, log_p_T, self._eta * log_p_T).masked_fill(~scored_T, torch.inf)
        order_T = in_order(pack, -score_T, here.uniform(Stream.CHOICE))  # the least likely first
        masked_T = alive_T & (ranks(pack, order_T) < here.masks_left()[pack.sequence_T])
        return torch.where(masked_T, alphabet.MASK, filled_T)
