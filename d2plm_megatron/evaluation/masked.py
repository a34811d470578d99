"""Masked perplexity at 15%, the number that is published of masked language models, of every model that reads masks.

Of a protein each residue is chosen with probability 0.15, and exp of the mean cross-entropy of the chosen is reported.
Models that have learnt what random residues in their input mean, by masked language modelling, are asked as ESM-2 is:
of the chosen 80% are masked, 10% are random residues, 10% stay. For others these would be something never seen, and all
of the chosen are masked. The two are different tasks, so they have different names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.mlm import MaskedLanguageModel
from d2plm_megatron.objectives.objective import Objective, canonical_log_posterior
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.rng import KeyedRng

PUBLISHED = config.MaskedLM(mask_probability=0.15, mask_fraction=0.8, random_fraction=0.1)
ALL_MASKED = config.MaskedLM(mask_probability=0.15, mask_fraction=1.0, random_fraction=0.0)
AS_PUBLISHED_NAME, ALL_MASKED_NAME = "masked_15_80_10_10", "masked_15"


def masked_perplexity(options: config.Objective, path: Path) -> Mapping[str, Objective]:
    """What measures it for a model that was trained so, by its name; nothing for a model that reads no masks."""
    if not path.has_masks:
        return {}
    if isinstance(options, config.MaskedLM) and options.random_fraction:
        return {AS_PUBLISHED_NAME: MaskedLanguageModel(PUBLISHED)}
    return {ALL_MASKED_NAME: AllMasked(path)}


@dataclass(frozen=True)
class AllMasked:
    """Masks 15% of the residues, and takes the cross-entropy of the masked ones among the 20 canonical residues.

    Args:
        path: of the model, which is told the time at which as large a part is masked on average.
    """

    path: Path

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Chooses residues and masks them."""
        noisy = MaskedLanguageModel(ALL_MASKED).corrupt(batch, rng)
        visible_S = torch.full_like(noisy.times_S, 1 - ALL_MASKED.mask_probability)
        return replace(noisy, times_S=self.path.schedule.inverse(visible_S))

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """Cross-entropy per masked residue."""
        return MaskedLanguageModel(ALL_MASKED).loss(canonical_log_posterior(logits_TV), noisy)
