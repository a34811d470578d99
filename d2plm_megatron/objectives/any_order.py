r"""The likelihood of a model that fills masks: its bound over all orders in which residues may be filled in.

Of the L scored residues of a protein n are masked, n even over 1 to L, and which ones is even over all sets of n. Then

    E_n  L / n  sum_{i masked}  - log p(x1_i | the rest)

bounds the negative log-likelihood (arXiv:1310.1757, arXiv:2110.02037). Of an encoder that sees no time it is that of
absorbing diffusion, whatever the schedule: that one draws n by a time and a coin for each residue, and its weight
counts the masks that are expected instead of those that there are, which is all the more that it spreads. An encoder
that sees the time is told here that of its masks, and there a random one: two bounds, both valid; this is reported.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import canonical_log_posterior, log_probability
from d2plm_megatron.objectives.schedules import Schedule
from d2plm_megatron.objectives.source import is_residue
from d2plm_megatron.per_protein import counts_of, grouped, ranks
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream


@dataclass(frozen=True)
class AnyOrder:
    """The bound as an objective: what is reported, and nothing to weigh.

    Args:
        schedule: kappa. A model that sees the time is told the one at which as many residues are masked on average.
    """

    schedule: Schedule

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Masks n of each protein's scored residues; n is stratified over the stream, the masks have the least noise.

        Of a protein whose residues are not all scored, such as a window of one, the others are seen, and count for the
        time.
        """
        scored_S = counts_of(batch, batch.scored_T)
        masks_S = 1 + (rng.stratified(Stream.TIME, batch.stream_index_S) * scored_S).long()
        masked_T = batch.scored_T & (_rank(batch, rng) < masks_S[batch.sequence_T])
        tokens_T = torch.where(masked_T, alphabet.MASK, batch.tokens_T)
        return NoisyBatch(
            clean=batch,
            tokens_T=tokens_T,
            times_S=time_of_masks(self.schedule, tokens_T, batch),
            predicted_T=masked_T,
        )

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """L / n times the cross-entropy of the masks, per residue. It has no gradient: nothing is trained on it."""
        log_posterior_TV, clean = canonical_log_posterior(logits_TV.detach()), noisy.clean
        nll_T = -log_probability(log_posterior_TV, clean.tokens_T, noisy.predicted_T).double()
        weight_S = counts_of(clean, clean.scored_T) / counts_of(clean, noisy.predicted_T).clamp(min=1)
        total, num_residues = (weight_S[clean.sequence_T] * nll_T).sum(), clean.scored_T.sum()
        return LossTerms(total=total, count=num_residues, metrics={"nll": (total, num_residues)})


def time_of_masks(schedule: Schedule, tokens_T: Tensor, batch: TokenBatch) -> Tensor:
    """The time at which proteins have as many masks on average, [S], float64: what a model is told of them.

    It is the inverse of the share of residues that is shown. Masks and canonical residues count, whoever gave them; X
    and its like do not, as they are never masked. Of a protein without any the time is 1.

    Args:
        schedule: kappa.
        tokens_T: what is shown.
        batch: the proteins.
    """
    shown_S, masks_S = counts_of(batch, is_residue(tokens_T)), counts_of(batch, tokens_T == alphabet.MASK)
    return schedule.inverse(1 - masks_S / (shown_S + masks_S).clamp(min=1))


def _rank(batch: TokenBatch, rng: KeyedRng) -> Tensor:
    """The place of each scored token among those of its protein in the order of their noise, from 0, int64 [T]."""
    noise_T = rng.uniform(Stream.CORRUPT, batch.sample_ids_S[batch.sequence_T], batch.positions_T)
    by_noise_T = torch.where(batch.scored_T, noise_T, torch.inf).argsort(stable=True)
    return ranks(batch, grouped(batch, by_noise_T))
