r"""Flow matching along a metric-induced path (arXiv:2412.03487): p_t(x | x1) ~ exp(-beta_t d(x, x1)).

Two losses, per token, of the posterior p(x1 | x_t): its cross-entropy, - log p(x1), as in the paper; or the negative
ELBO of metric_velocity.py, which is also what is reported, whatever the loss. For the one t is drawn evenly, for the
other so that the ELBO spreads little.
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.evidence import log_posterior
from d2plm_megatron.objectives.metric_path import MetricPath
from d2plm_megatron.objectives.path import loss_along
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.rng import KeyedRng


@dataclass(frozen=True)
class MetricFlow:
    """Learns the posterior along a metric-induced path.

    Args:
        path: the metric-induced path.
        cross_entropy: the loss is the cross-entropy instead of the negative ELBO.
    """

    path: MetricPath
    cross_entropy: bool

    @classmethod
    def of(cls, options: config.MetricFlow) -> Self:
        """As the recipe says."""
        schedule, cross_entropy = build_schedule(options.schedule), options.loss == "cross_entropy"
        path = MetricPath(
            schedule,
            options.distances(),
            options.time_epsilon,
            even_in_information=not cross_entropy,
            by_bayes=options.posterior == "bayes",
        )
        return cls(path, cross_entropy)

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws x_t; every residue is predicted."""
        return self.path.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The chosen loss, per residue. "nll" is the negative ELBO, with what its ends cost, whatever the loss."""
        bound = None if self.cross_entropy else self.path.elbo
        return loss_along(self.path, log_posterior(self.path, logits_TV, noisy), noisy, bound)
