"""What is read from a model about proteins as they are: nothing is corrupted, and "_" is a mask."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.data.sequences import BLANK, PackedSequences
from d2plm_megatron.objectives.any_order import time_of_masks
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.proteins import alphabet


def as_it_is(pack: TokenBatch, path: Path, time: float | None) -> NoisyBatch:
    """A pack as the model is to see it, at a time at which it has seen the like.

    Args:
        pack: with masks where residues are to be predicted.
        path: that the model was trained along.
        time: t; None for that of its masks, 1 without any.
    """
    masked_T = pack.tokens_T == alphabet.MASK
    if time is None:
        times_S = time_of_masks(path.schedule, pack.tokens_T, pack)
    else:
        times_S = torch.full_like(pack.stream_index_S, time, dtype=torch.float64)
    return NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=masked_T)


def residues(pack: TokenBatch) -> Tensor:
    """Where residues and masks stand, bool [T]: everything but the end tokens."""
    return (pack.tokens_T != alphabet.CLS) & (pack.tokens_T != alphabet.EOS)


def by_protein(pack: TokenBatch, values_T: Tensor) -> list[np.ndarray]:
    """Values of the residues of each protein, of [T, ...] one array [L, ...] each, on the CPU."""
    inside = residues(pack).cpu().split(list(pack.lengths_S))
    parts = values_T.cpu().split(list(pack.lengths_S))
    return [part[where].numpy() for part, where in zip(parts, inside, strict=True)]


def refuse(packed: PackedSequences, wrong: Callable[[TokenBatch], Tensor], why: str) -> None:
    """Raises ValueError naming the first protein of which any token is wrong, [T], and saying why."""
    first = 0
    for pack in packed.packs:
        found = pack.sequence_T[wrong(pack)]
        if len(found):
            raise ValueError(f"{packed.ids[first + int(found[0])]}: {why}")
        first += len(pack.lengths_S)


def masks(pack: TokenBatch) -> Tensor:
    """Where masks stand, bool [T]."""
    return pack.tokens_T == alphabet.MASK


NO_LIKELIHOOD = f"has masks ({BLANK}), and a perplexity is of residues that are all known"
NO_MASKS = f"has masks ({BLANK}), which this model cannot read: what it was trained on has none; give every residue"
