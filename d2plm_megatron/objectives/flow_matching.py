r"""Discrete flow matching (arXiv:2407.15595, arXiv:2412.03487) with the mask or the uniform source.

Two losses, per token, of the posterior p(x1 | x_t):

    cross-entropy     - log p(x1)
    generalised KL    - kappa' / (1 - kappa) * [ p(x_t) - 1{x_t = x1} + 1{x_t != x1} log p(x1) ]

The second, summed over the tokens and averaged over t, bounds the negative log-likelihood. With the mask source a
visible residue is known (SUBS), so it adds nothing to either, and the generalised KL is the loss of absorbing
diffusion. With the uniform source there is another bound, tighter for an exact
posterior, and that is what is reported: see uniform_bound.py.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.evidence import log_posterior
from d2plm_megatron.objectives.path import MixturePath, at_predicted, loss_along
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.rng import KeyedRng


def generalised_kl(log_posterior: Tensor, x1: Tensor, xt: Tensor, rate: Tensor) -> Tensor:
    """The generalised KL of each token, of the shape of x1.

    Args:
        log_posterior: log p(x1 | x_t), [..., V].
        x1: clean ids, [...].
        xt: noisy ids, [...].
        rate: kappa' / (1 - kappa) at the time of each token, broadcastable to [...].
    """
    p_of_xt = log_posterior.gather(-1, xt[..., None])[..., 0].exp()
    log_p_of_x1 = log_posterior.gather(-1, x1[..., None])[..., 0]
    same = xt == x1
    return -rate * (p_of_xt - same.to(p_of_xt.dtype) + torch.where(same, 0.0, log_p_of_x1))


@dataclass(frozen=True)
class FlowMatching:
    """Learns the posterior along a mixture path.

    Args:
        path: the mixture path.
        cross_entropy: the loss is the cross-entropy instead of the generalised KL.
    """

    path: MixturePath
    cross_entropy: bool

    @classmethod
    def of(cls, options: config.FlowMatching) -> Self:
        """As the recipe says."""
        schedule, by_bayes = build_schedule(options.schedule), options.posterior == "bayes"
        path = MixturePath(schedule, SOURCES[options.source], options.time_epsilon, by_bayes=by_bayes)
        return cls(path, options.loss == "cross_entropy")

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws x_t; every residue that is not known for certain is predicted."""
        return self.path.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The chosen loss, per residue. "nll" is the negative ELBO, to its end, whatever the loss."""
        bound = None if self.cross_entropy else self._generalised_kl
        return loss_along(self.path, log_posterior(self.path, logits_TV, noisy), noisy, bound)

    def _generalised_kl(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> Tensor:
        """[T], 0 at tokens that are not predicted: special tokens, and visible residues of the mask source."""
        x1_T, xt_T = at_predicted(noisy)
        loss_T = generalised_kl(log_posterior_TV.double(), x1_T, xt_T, self.path.rate(noisy.times_T))
        return torch.where(noisy.predicted_T, loss_T, 0.0)
