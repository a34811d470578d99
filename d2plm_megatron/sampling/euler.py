"""Euler: a residue jumps with the chance 1 - exp(-h lambda), lambda the sum of the path's rates, held over a step of h.

It is for any path, as all it needs are rates: their mean over the step, which stays finite where a rate at t = 0 does
not. It lags behind the path by an amount of first order in h, which `exact` does not. The last step draws all that may
be noise from the posterior, as the rates there are infinite (arXiv:2407.15595, section 3).
"""

import torch
from torch import Tensor

from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.step import Step


class Euler:
    """Needs no options."""

    def step(self, here: Step) -> Tensor:
        """Draws at what jumps, in proportion to the rates."""
        where_T = here.candidates_T
        if here.is_last or not where_T.any():
            return here.redrawn(where_T)
        rates_TV = self._rates(here, here.posterior(where_T))
        jumps_T = where_T & (here.uniform(Stream.REVEAL) < -torch.expm1(-(here.s - here.t) * rates_TV.sum(-1)))
        return torch.where(jumps_T, here.draw(rates_TV), here.tokens_T)

    def _rates(self, here: Step, posterior_TV: Tensor) -> Tensor:
        """[T, 20], float64."""
        log_posterior_TV = torch.full_like(posterior_TV[:, :1], -torch.inf).repeat(1, alphabet.SIZE)
        log_posterior_TV[:, alphabet.CANONICAL] = posterior_TV.log()
        t, s = (torch.tensor(time, dtype=torch.float64, device=posterior_TV.device) for time in (here.t, here.s))
        return here.path.rates(log_posterior_TV, here.tokens_T, t, until=s)
