r"""The bridge: x_s ~ q(x_s | x_t, x1) with x1 ~ p(x1 | x_t), for random residues.

Noising, seen from the data, is a Markov chain (see objectives/uniform_bound.py): from s to t < s a residue is kept with
the chance r = kappa_t / kappa_s, and else becomes any of the V. So, by Bayes,

    q(x_s = y | x_t, x1) = q(x_t | y) q(y | x1) / q(x_t | x1),   q(x_t | y)  = r 1{y = x_t} + (1 - r) / V,
                                                                q(y | x1)   = kappa_s 1{y = x1} + (1 - kappa_s) / V.

Summed over x1 with Z(x1) = q(x_t | x1) = kappa_t 1{x1 = x_t} + (1 - kappa_t) / V, a step draws from

    P(y) = [ r 1{y = x_t} + (1 - r) / V ]  [ kappa_s p(y) / Z(y) + (1 - kappa_s) / V  sum_x1 p(x1) / Z(x1) ].

As steps shrink it becomes the reverse of noising, whose likelihood the bound of uniform_bound.py is. `exact` follows
another process with the same marginals; for an exact posterior the error of both falls alike. With masks they are one.
"""

import torch
from torch import Tensor

from d2plm_megatron.objectives.source import stands_at
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.sampling.grid import kappa_at, kept_by_noising
from d2plm_megatron.sampling.step import Step


class Bridge:
    """Needs no options."""

    def step(self, here: Step) -> Tensor:
        """Draws every residue."""
        where_T = here.candidates_T
        chances_TV = bridge(
            here.posterior(where_T), stands_at(here.tokens_T), kappa_at(here.path, here.t), kappa_at(here.path, here.s)
        )
        return torch.where(where_T, here.draw(chances_TV), here.tokens_T)


def bridge(posterior_TV: Tensor, is_xt_TV: Tensor, kappa_t: float, kappa_s: float) -> Tensor:
    """P(x_s | x_t), [T, 20], float64.

    Args:
        posterior_TV: p(x1 | x_t), float64. Where no noise is left, kappa_t = 1, it is what is returned.
        is_xt_TV: where the residue stands that x_t is, bool.
        kappa_t: share of data at t.
        kappa_s: at s, greater.
    """
    if kappa_t == 1:
        return posterior_TV
    even, kept = 1 / alphabet.NUM_CANONICAL, kept_by_noising(kappa_t, kappa_s)
    weights_TV = posterior_TV / (kappa_t * is_xt_TV + (1 - kappa_t) * even)
    from_data_TV = kappa_s * weights_TV + (1 - kappa_s) * even * weights_TV.sum(-1, keepdim=True)
    return (kept * is_xt_TV + (1 - kept) * even) * from_data_TV
