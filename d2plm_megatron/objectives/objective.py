"""The protocol of an objective, and the posterior that they all read from the logits."""

from typing import Protocol

import torch
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng


class Objective(Protocol):
    """How proteins are corrupted, and what is asked of the encoder then: all that a training step needs."""

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws a time for each protein and the noisy residues at that time."""
        ...

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The loss of the pack. Its metric "nll" is per residue; exp(nats) is the objective's perplexity."""
        ...


def canonical_log_posterior(logits_TV: Tensor) -> Tensor:
    """log p(x1 | x_t) with all probability on the 20 canonical residues, [T, V], float32, -inf elsewhere."""
    allowed = torch.zeros(logits_TV.shape[-1], dtype=torch.bool, device=logits_TV.device)
    allowed[alphabet.CANONICAL] = True
    return logits_TV.float().masked_fill(~allowed, -torch.inf).log_softmax(-1)


def log_probability(log_posterior_TV: Tensor, ids_T: Tensor, where_T: Tensor) -> Tensor:
    """log p of the given ids, [T], float32; 0 where `where_T` is false, so that a special id never yields -inf."""
    safe_T = torch.where(where_T, ids_T, alphabet.FIRST_CANONICAL)
    return torch.where(where_T, log_posterior_TV.gather(-1, safe_T[:, None])[:, 0], 0.0)


def hits(log_posterior_TV: Tensor, noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
    """(number of predicted tokens whose likeliest residue is right, number of predicted tokens)."""
    right_T = (log_posterior_TV.argmax(-1) == noisy.clean.tokens_T) & noisy.predicted_T
    return right_T.sum(), noisy.predicted_T.sum()
