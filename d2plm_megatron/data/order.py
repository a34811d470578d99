"""The order of the proteins in an epoch: a keyed permutation that is computed, not stored."""

from dataclasses import replace

import torch
from torch import Tensor

from d2plm_megatron.rng import KeyedRng, Stream

LEAST_HALF_BITS = 3
ROUNDS, MIXED_BITS = 4, 32
"""Four rounds mix halves of 8 bits and more; smaller ones take as many as draw 32 bits."""


def permuted(places: Tensor, num_items: int, rng: KeyedRng) -> Tensor:
    """The items that stand at `places` (int64, in [0, num_items)) when the items are shuffled by the noise's key.

    A Feistel network (Luby and Rackoff 1988) permutes 2^(2k) >= num_items numbers. A result that is no item is sent
    through again until it is one, so that the items are permuted, too. Memory does not depend on the number of items.
    """
    half_bits = max(LEAST_HALF_BITS, ((num_items - 1).bit_length() + 1) // 2)
    epochs = torch.as_tensor(rng.epoch).expand_as(places)
    items = _feistel(places, half_bits, rng)
    while (outside := items >= num_items).any():
        items[outside] = _feistel(items[outside], half_bits, replace(rng, epoch=epochs[outside]))
    return items


def _feistel(numbers: Tensor, half_bits: int, rng: KeyedRng) -> Tensor:
    mask = (1 << half_bits) - 1
    left, right = numbers >> half_bits, numbers & mask
    for round_number in range(max(ROUNDS, -(-MIXED_BITS // half_bits))):
        left, right = right, left ^ (rng.bits(Stream.ORDER, round_number, right) & mask)
    return (left << half_bits) | right
