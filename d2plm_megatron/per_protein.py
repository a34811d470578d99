"""What is decided for each protein of a pack by itself, whatever the others are."""

from dataclasses import replace
from itertools import compress

import torch
from torch import Tensor

from d2plm_megatron.batch import TokenBatch


def sums_of(pack: TokenBatch, values_T: Tensor) -> Tensor:
    """The sum over the tokens of each protein, [S], of the type of the values; of bool, int64."""
    values_T = values_T.long() if values_T.dtype == torch.bool else values_T
    zeros_S = torch.zeros(len(pack.lengths_S), dtype=values_T.dtype, device=values_T.device)
    return zeros_S.index_add_(0, pack.sequence_T, values_T)


def counts_of(pack: TokenBatch, where_T: Tensor) -> Tensor:
    """How many tokens of each protein are meant, float64 [S], so that shares can be taken of them."""
    return sums_of(pack, where_T.double())


def any_of(pack: TokenBatch, where_T: Tensor) -> Tensor:
    """The proteins of which any token is meant, bool [S]."""
    return sums_of(pack, where_T) > 0


def in_order(pack: TokenBatch, score_T: Tensor, ties_T: Tensor) -> Tensor:
    """All tokens, [T]: protein by protein, and within each from the greatest score to the least.

    Args:
        pack: the proteins.
        score_T: of each token.
        ties_T: random numbers, which decide between equal scores, so that no end of a protein is preferred.
    """
    order_T = ties_T.argsort()
    return grouped(pack, order_T[score_T[order_T].argsort(descending=True, stable=True)])


def grouped(pack: TokenBatch, order_T: Tensor) -> Tensor:
    """All tokens, [T], in an order of them, but protein by protein."""
    return order_T[pack.sequence_T[order_T].argsort(stable=True)]


def ranks(pack: TokenBatch, order_T: Tensor) -> Tensor:
    """The place of each token in the order of its protein, [T], from 0."""
    begins_T = pack.bounds_S[:-1].long()[pack.sequence_T]
    numbers_T = torch.arange(len(order_T), device=order_T.device)
    return torch.empty_like(order_T).scatter_(0, order_T, numbers_T) - begins_T


def take(pack: TokenBatch, proteins_S: Tensor) -> TokenBatch:
    """The pack of some of its proteins, bool [S]; the pack itself where that is all."""
    if proteins_S.all():
        return pack
    tokens_T = proteins_S[pack.sequence_T]
    number_S = proteins_S.cumsum(0) - 1
    return replace(
        pack,
        tokens_T=pack.tokens_T[tokens_T],
        positions_T=pack.positions_T[tokens_T],
        sequence_T=number_S[pack.sequence_T[tokens_T]],
        scored_T=pack.scored_T[tokens_T],
        sample_ids_S=pack.sample_ids_S[proteins_S],
        stream_index_S=pack.stream_index_S[proteins_S],
        lengths_S=tuple(compress(pack.lengths_S, proteins_S.tolist())),
    )
