"""Pseudo-perplexity of held-out proteins: each residue is masked once, while all others are seen."""

from dataclasses import dataclass, replace

import numpy as np

from d2plm_megatron.evaluation.held_out import HeldOut, sample
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.pseudo import masked_once
from d2plm_megatron.inference.spread import shared_progress


@dataclass(frozen=True)
class Pseudo:
    """What was found.

    Attributes:
        proteins: numbers of those that were looked at, rising, int64.
        draws: their nats, in the one way there is to mask each residue once.
    """

    proteins: np.ndarray
    draws: Draws


def pseudo_perplexity(model: TrainedModel, held_out: HeldOut, most: int, tokens_per_pack: int) -> Pseudo:
    """Masks every scored residue of so many proteins, a fixed sample, in turn. All processes call it and get the same.

    Raises ValueError for a model that reads no masks.
    """
    chosen = np.array(sample(len(held_out.ids), most))
    is_chosen, first, packs = np.isin(held_out.protein_of_part, chosen), 0, []
    for pack in held_out.packs:
        wanted_S = is_chosen[first : first + len(pack.lengths_S)]
        first += len(wanted_S)
        packs.append(
            replace(pack, scored_T=pack.scored_T & pack.sequence_T.new_tensor(wanted_S)[pack.sequence_T].bool())
        )
    total = sum(int(pack.scored_T.sum()) for pack in packs)
    with shared_progress("evaluating pseudo-likelihood", total, "residues", model.processes) as advance:
        parts = masked_once(model, packs, tokens_per_pack, advance)
    nats, residues = (np.zeros(len(held_out.ids)) for _ in range(2))
    np.add.at(nats, held_out.protein_of_part, [-values.sum() for values in parts])
    np.add.at(residues, held_out.protein_of_part, [len(values) for values in parts])
    return Pseudo(chosen, Draws(nats[chosen, None], residues[chosen, None].astype(np.int64)))
