"""The nats of each protein by a bound on the likelihood: of all that reports a perplexity, the one way to it.

A protein's noise is a function of its residues, the draw and the seed alone: the same in any pack, layout and company,
and for every model. Its times, or numbers of masks, are stratified over the draws.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.rng import KeyedRng, Stream, hash_integers, seed_for


def noise_of(seed: int) -> KeyedRng:
    """All that is drawn for a likelihood with a seed of the user's."""
    return KeyedRng(seed_for(Stream.EVALUATE, seed), epoch=0)


def nll_by_protein(
    logits: Callable[[NoisyBatch], Tensor],
    measure: Objective,
    pack: TokenBatch,
    noise: KeyedRng,
    draws: Iterable[int],
    key: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> np.ndarray:
    """The sums of the measure's "nll" over each protein of a pack, and the numbers of its residues, float64 [S, D, 2].

    Args:
        logits: corrupted pack in, logits [T, V] out.
        measure: the bound on the likelihood.
        pack: the proteins.
        noise: from `noise_of`.
        draws: the numbers of D draws, which count from 0.
        key: of the noise of every protein, from `content_key`, so that mutants have that of their wild type; None for
            that of each.
        advance: told 1 after each draw.
    """
    keys_S, found = _keys(pack, key), []
    for draw in draws:
        keyed = replace(pack, sample_ids_S=hash_integers(keys_S, draw), stream_index_S=keys_S + draw)
        found.append(_sums(logits, measure, measure.corrupt(keyed, noise)))
        if advance is not None:
            advance(1)
    return torch.stack(found, dim=1).cpu().numpy()


def _sums(logits: Callable[[NoisyBatch], Tensor], measure: Objective, noisy: NoisyBatch) -> Tensor:
    """The sum over each protein of a corrupted pack and the number of its residues, float64 [S, 2]."""
    logits_TV, found, begin = logits(noisy), [], 0
    for number, length in enumerate(noisy.clean.lengths_S):
        place = slice(begin, begin + length)
        total, count = measure.loss(logits_TV[place], _alone(noisy, number, place)).metrics["nll"]
        found.append(torch.stack([total.double(), count.double()]))
        begin += length
    return torch.stack(found)


def _keys(pack: TokenBatch, key: int | None) -> Tensor:
    """What the noise of each protein is by, a key or what it is, int64 [S]."""
    parts = pack.tokens_T.cpu().split(list(pack.lengths_S)) if key is None else ()
    keys = [content_key(tokens) for tokens in parts] if key is None else [key] * len(pack.lengths_S)
    return torch.tensor(keys, device=pack.tokens_T.device)


def content_key(tokens: Tensor) -> int:
    """63 bits of a protein's tokens, on the CPU."""
    digest = hashlib.blake2b(tokens.numpy().astype("uint8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _alone(noisy: NoisyBatch, number: int, place: slice) -> NoisyBatch:
    """One protein of a pack, with the noise that it has there."""
    pack = noisy.clean
    clean = TokenBatch(
        tokens_T=pack.tokens_T[place],
        positions_T=pack.positions_T[place],
        sequence_T=torch.zeros_like(pack.sequence_T[place]),
        scored_T=pack.scored_T[place],
        sample_ids_S=pack.sample_ids_S[number : number + 1],
        stream_index_S=pack.stream_index_S[number : number + 1],
        lengths_S=(place.stop - place.start,),
        epoch=pack.epoch,
    )
    return NoisyBatch(
        clean=clean,
        tokens_T=noisy.tokens_T[place],
        times_S=noisy.times_S[number : number + 1],
        predicted_T=noisy.predicted_T[place],
    )
