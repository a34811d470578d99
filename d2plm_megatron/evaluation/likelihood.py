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


Sums = list[tuple[float, int]]
"""Of a pack, for each draw, the nats and the number of residues that they are of."""


def one_by_one(packs: Sequence[TokenBatch], ask: Callable[[TokenBatch], Sums]) -> list[Sums]:
    """All packs in this process."""
    return [ask(pack) for pack in packs]


@torch.inference_mode()
def estimate(
    encoder: Callable[[NoisyBatch], Tensor],
    likelihood: Objective,
    packs: Sequence[TokenBatch],
    num_draws: int,
    advance: Callable[[int], None],
    spread: Callable[[Sequence[TokenBatch], Callable[[TokenBatch], Sums]], list[Sums]] = one_by_one,
) -> Estimate:
    """The mean of the likelihood's "nll" over the packs.

    Args:
        encoder: corrupted pack in, logits [T, V] out.
        likelihood: one of a process's likelihoods.
        packs: of the proteins.
        num_draws: how often every protein is corrupted anew.
        advance: called with 1 for every draw of a pack.
        spread: has each pack asked about by some process, on its device, and gives all answers in order.

    Raises ValueError when a draw leaves nothing to score.
    """

    def ask(pack: TokenBatch) -> Sums:
        return [sums_of(pack, draw) for draw in range(num_draws)]

    def sums_of(pack: TokenBatch, draw: int) -> tuple[float, int]:
        noisy = likelihood.corrupt(pack, KeyedRng(SEED, draw))
        nats, number = likelihood.loss(encoder(noisy), noisy).metrics["nll"]
        advance(1)
        return float(nats), int(number)

    return _over_draws([_mean(draw, of_draw) for draw, of_draw in enumerate(zip(*spread(packs, ask), strict=True))])


def _mean(draw: int, sums: Sequence[tuple[float, int]]) -> float:
    """Nats per residue of a draw, whose sums are given for each pack."""
    count = sum(number for _, number in sums)
    if not count:
        raise ValueError(f"in draw {draw + 1} none of the residues was chosen: evaluate more proteins")
    return sum((nats for nats, _ in sums), 0.0) / count


def _over_draws(draws: list[float]) -> Estimate:
    num_draws = len(draws)
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
