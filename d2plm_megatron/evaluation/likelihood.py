"""Perplexities of held-out proteins: of every model exp(negative ELBO per residue), so that they can be compared.

A draw gives every protein a time and noise; times are stratified over the proteins. Independent draws are averaged, and
their spread gives the standard error.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream, seed_for
from d2plm_megatron.runs.metrics import perplexity

SEED = seed_for(Stream.EVALUATE, 0)


@dataclass(frozen=True)
class Estimate:
    """A mean over draws, nats per residue.

    Attributes:
        nats: the mean.
        standard_error: of the mean, from the spread of the draws; None for a single draw.
    """

    nats: float
    standard_error: float | None

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return perplexity(self.nats)

    @property
    def perplexity_error(self) -> float | None:
        """Standard error of the perplexity, to first order."""
        return None if self.standard_error is None else self.perplexity * self.standard_error


@torch.inference_mode()
def estimate(
    encoder: Callable[[NoisyBatch], Tensor],
    likelihood: Objective,
    packs: Sequence[TokenBatch],
    num_draws: int,
    advance: Callable[[int], None],
) -> Estimate:
    """The mean of the likelihood's "nll" over the packs.

    Args:
        encoder: corrupted pack in, logits [T, V] out.
        likelihood: one of a process's likelihoods.
        packs: on the encoder's device.
        num_draws: how often every protein is corrupted anew.
        advance: called with 1 after every pack.

    Raises ValueError when a draw leaves nothing to score.
    """
    draws = []
    for draw in range(num_draws):
        total, count = 0.0, 0
        for pack in packs:
            noisy = likelihood.corrupt(pack, KeyedRng(SEED, draw))
            nats, number = likelihood.loss(encoder(noisy), noisy).metrics["nll"]
            total, count = total + float(nats), count + int(number)
            advance(1)
        if not count:
            raise ValueError(f"in draw {draw + 1} none of the residues was chosen: evaluate more proteins")
        draws.append(total / count)
    mean = sum(draws) / num_draws
    if num_draws == 1:
        return Estimate(mean, None)
    variance = sum((value - mean) ** 2 for value in draws) / (num_draws - 1)
    return Estimate(mean, math.sqrt(variance / num_draws))


def unigram_perplexity(packs: Sequence[TokenBatch]) -> float:
    """What a model that knows only how common each residue is would reach: exp of the entropy of the canonical 20."""
    counts = torch.zeros(alphabet.SIZE, dtype=torch.float64)
    for tokens_T in chain(pack.tokens_T[pack.scored_T] for pack in packs):
        counts += torch.bincount(tokens_T.cpu(), minlength=alphabet.SIZE)
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * shares.log()).sum()))
