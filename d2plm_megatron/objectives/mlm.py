"""Masked language modelling as in BERT and ESM-2: of a chosen share of the residues, guess what they were.

Of the chosen, 80% become a mask, 10% a random canonical residue, 10% stay; the loss is the cross-entropy over the whole
alphabet at the chosen places, divided by their number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import hits, log_probability
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream


@dataclass(frozen=True)
class MaskedLanguageModel:
    """Chooses residues, hides them, and scores the guesses.

    Args:
        options: the shares.
    """

    options: config.MaskedLM

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Chooses residues and hides them. The time is 0 throughout: this objective has none."""
        keys = batch.sample_ids_S[batch.sequence_T], batch.positions_T
        chosen_T = batch.scored_T & (rng.uniform(Stream.CHOICE, *keys) < self.options.mask_probability)
        outcome_T = rng.uniform(Stream.OUTCOME, *keys)
        random_T = alphabet.FIRST_CANONICAL + rng.integers(Stream.REPLACE, alphabet.NUM_CANONICAL, *keys)
        replaced_T = torch.where(
            outcome_T < self.options.mask_fraction + self.options.random_fraction, random_T, batch.tokens_T
        )
        hidden_T = torch.where(outcome_T < self.options.mask_fraction, alphabet.MASK, replaced_T)
        return NoisyBatch(
            clean=batch,
            tokens_T=torch.where(chosen_T, hidden_T, batch.tokens_T),
            times_S=torch.zeros_like(batch.stream_index_S, dtype=torch.float64),
            predicted_T=chosen_T,
        )

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """Cross-entropy per chosen residue; exp("nll") is the masked perplexity that ESM-2 reports."""
        log_posterior_TV = logits_TV.float().log_softmax(-1)
        total = -log_probability(log_posterior_TV, noisy.clean.tokens_T, noisy.predicted_T).double().sum()
        num_chosen = noisy.predicted_T.sum()
        return LossTerms(
            total=total,
            count=num_chosen,
            metrics={"nll": (total.detach(), num_chosen), "accuracy": hits(log_posterior_TV, noisy)},
        )
