r"""Absorbing (masked) diffusion: MDLM (arXiv:2406.07524), MD4 (arXiv:2406.04329).

With p(mask) = 0 and visible residues copied (SUBS), the negative ELBO of a protein is

    E_t sum_{i masked at t}  kappa'(t) / (1 - kappa(t))  *  ( - log p(x1_i | x_t) )

and, divided by the residues, a bound on the nats per residue of the same kind for every schedule and every model.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import canonical_log_posterior, hits, log_probability
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import Mask
from d2plm_megatron.rng import KeyedRng


@dataclass(frozen=True)
class AbsorbingDiffusion:
    """Masks at rate 1 - kappa(t); the weighted cross-entropy of the masked residues.

    Args:
        path: with the mask source.
        weight: of the cross-entropy at t: "elbo" kappa' / (1 - kappa), "uniform" 1, or "linear" kappa.
    """

    path: MixturePath
    weight: str = "elbo"

    @classmethod
    def of(cls, options: config.Absorbing) -> Self:
        """As the recipe says."""
        path = MixturePath(build_schedule(options.schedule), Mask(), options.time_epsilon)
        return cls(path, options.weight)

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Masks each residue with probability 1 - kappa(t); the masked ones are predicted."""
        return self.path.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The weighted cross-entropy, per residue. "nll" is the negative ELBO, to its end, whatever the weight."""
        log_posterior_TV = canonical_log_posterior(logits_TV)
        nll_T = -log_probability(log_posterior_TV, noisy.clean.tokens_T, noisy.predicted_T).double()
        return LossTerms(
            total=(self._weight(noisy.times_T) * nll_T).sum(),
            count=noisy.clean.scored_T.sum(),
            metrics={
                "nll": self.path.nll(log_posterior_TV, noisy),
                "masked_nll": (nll_T.detach().sum(), noisy.predicted_T.sum()),
                "accuracy": hits(log_posterior_TV, noisy),
            },
        )

    def _weight(self, times: Tensor) -> Tensor:
        match self.weight:
            case "elbo":
                return self.path.rate(times)
            case "linear":
                return self.path.schedule.kappa(times)
        return torch.ones_like(times)
