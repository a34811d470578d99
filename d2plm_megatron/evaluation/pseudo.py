"""Pseudo-perplexity of held-out proteins: each residue is masked once, while the others are seen."""

from dataclasses import dataclass

import numpy as np

from d2plm_megatron.evaluation.held_out import HeldOut, sample
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.pseudo import masked_once
from d2plm_megatron.inference.spread import shared_progress
from d2plm_megatron.proteins import alphabet


@dataclass(frozen=True)
class Pseudo:
    """What was found.

    Attributes:
        proteins: numbers of those that were looked at, rising, int64.
        draws: their nats, in the one way there is to mask each residue once.
    """

    proteins: np.ndarray
    draws: Draws


def pseudo_perplexity(model: TrainedModel, held_out: HeldOut, most: int, longest: int, tokens_per_pack: int) -> Pseudo:
    """Masks each canonical residue of so many proteins, a fixed sample. All processes call it and get the same.

    Args:
        model: to ask.
        held_out: the proteins.
        most: of them that are looked at.
        longest: residues that the model is shown; of a longer protein those around each residue.
        tokens_per_pack: that go through the model at once.

    Raises ValueError for a model that reads no masks.
    """
    chosen = np.array(sample(len(held_out.ids), most))
    proteins = [alphabet.encode(held_out.sequences[number]) for number in chosen]
    total = sum(int(alphabet.is_canonical(residues).sum()) for residues in proteins)
    with shared_progress("evaluating pseudo-likelihood", total, "residues", model.processes) as advance:
        found = masked_once(model, proteins, longest, tokens_per_pack, advance)
    nats, residues = (np.array([[of(values)] for values in found]) for of in (lambda one: -one.sum(), len))
    return Pseudo(chosen, Draws(nats, residues))
