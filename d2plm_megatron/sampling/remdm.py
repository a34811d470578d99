r"""ReMDM: residues that are filled are masked again, and the share of masks stays the path's (arXiv:2503.00307).

Of x_t, what is visible becomes a mask with probability sigma, and a mask is filled from the posterior with probability

    (kappa_s - (1 - sigma) kappa_t) / (1 - kappa_t),      sigma <= sigma_max = min(1, (1 - kappa_s) / kappa_t).

    cap          sigma = min(eta, sigma_max)
    rescale      sigma = eta sigma_max
    confidence   sigma_i = eta sigma_max w_i, at most sigma_max, w_i in proportion to exp(-p_i), p_i the probability
                 that residue i had when it was drawn

The paper's w_i have the sum 1 over a protein; here their mean over its visible residues is 1, so that eta means what it
does in rescale. What a mask is filled with takes the mean sigma of its protein, so that the share of masks stays right.
"""

import torch
from torch import Tensor

from d2plm_megatron.per_protein import sums_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.grid import kappa_at
from d2plm_megatron.sampling.step import Step, at_ids


class ReMDM:
    """Masks again at the rate sigma.

    Args:
        strategy: cap, rescale or confidence.
        eta: as above.
    """

    def __init__(self, strategy: str, eta: float) -> None:
        self._strategy, self._eta = strategy, eta
        self._certainty_T: Tensor | None = None
        """The probability that each residue had when it was drawn; 1 for those that were given."""

    def step(self, here: Step) -> Tensor:
        """Masks some and fills some."""
        masks_T = here.candidates_T
        visible_T, chance_T = here.pack.scored_T & ~masks_T, here.uniform(Stream.REVEAL)
        sigma_T = self._sigma(here, visible_T) * visible_T
        mean_S = sums_of(here.pack, sigma_T) / sums_of(here.pack, visible_T).clamp(min=1)
        visible_S = sums_of(here.pack, visible_T) > 0
        filled_S = fill_chance(here, torch.where(visible_S, mean_S, self._greatest(here)))
        fills_T = masks_T & (chance_T < filled_S[here.pack.sequence_T])
        tokens_T = here.redrawn(fills_T)
        self._note(here, fills_T, tokens_T)
        return torch.where(visible_T & (chance_T < sigma_T), alphabet.MASK, tokens_T)

    def _greatest(self, here: Step) -> float:
        """Sigma at most, in the whole protein: capped or rescaled."""
        sigma_max = greatest_sigma(here)
        return min(self._eta, sigma_max) if self._strategy == "cap" else self._eta * sigma_max

    def _sigma(self, here: Step, visible_T: Tensor) -> Tensor:
        """Of each visible token, [T], float64."""
        even_T = torch.full(visible_T.shape, self._greatest(here), dtype=torch.float64, device=visible_T.device)
        if self._strategy != "confidence":
            return even_T
        certainty_T = torch.ones_like(even_T) if self._certainty_T is None else self._certainty_T
        weight_T = (-certainty_T).exp() * visible_T
        mean_S = sums_of(here.pack, weight_T) / sums_of(here.pack, visible_T).clamp(min=1)
        mean_T = mean_S[here.pack.sequence_T].clamp(min=torch.finfo(torch.float64).tiny)
        return (even_T * weight_T / mean_T).clamp(max=greatest_sigma(here))

    def _note(self, here: Step, fills_T: Tensor, tokens_T: Tensor) -> None:
        """Remembers how probable what was filled was."""
        if self._strategy == "confidence" and fills_T.any():
            before_T = torch.ones(fills_T.shape, dtype=torch.float64, device=fills_T.device)
            before_T = before_T if self._certainty_T is None else self._certainty_T
            self._certainty_T = torch.where(fills_T, at_ids(here.posterior(fills_T), tokens_T), before_T)


def greatest_sigma(here: Step) -> float:
    """min(1, (1 - kappa_s) / kappa_t)."""
    kappa_t, kappa_s = kappa_at(here.path, here.t), kappa_at(here.path, here.s)
    return 1.0 if kappa_t == 0 else min(1.0, (1 - kappa_s) / kappa_t)


def fill_chance(here: Step, sigma_S: Tensor) -> Tensor:
    """That a mask is filled, [S]; 1 in the last step, and where the path has no masks left already."""
    kappa_t, kappa_s = kappa_at(here.path, here.t), kappa_at(here.path, here.s)
    if here.is_last or kappa_t == 1:
        return torch.ones_like(sigma_S)
    return (kappa_s - (1 - sigma_S) * kappa_t) / (1 - kappa_t)
