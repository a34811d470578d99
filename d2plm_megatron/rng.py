"""Randomness as a pure function: the same noise under any parallel layout and after any resume, with no state to save.

A draw is the hash of what it is for (seed, stream, epoch, sample, position). The hash is the finaliser of SplitMix64
(Steele, Lea and Flood 2014), in 64-bit integers that wrap around, so that CPU and GPU agree to the bit.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
"""2^64 / golden ratio as a signed integer: the increment of SplitMix64, and of the Weyl sequence in `stratified`."""
FIRST_FACTOR = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND_FACTOR = 0x94D049BB133111EB - (1 << 64)

Bits = TypeVar("Bits", int, Tensor)
"""64 bits as int64."""


class Stream(IntEnum):
    """What a draw, or a seed (`seed_for`), is for. Different streams are independent; a number keeps its meaning."""

    TIME = 1
    CORRUPT = 2
    CHOICE = 3
    REPLACE = 4
    ORDER = 5
    CROP = 6
    PACKS = 7
    WEIGHTS = 8
    LENGTH = 9
    REVEAL = 10
    RESIDUE = 11
    EVALUATE = 12
    MEMBER = 13
    CORPUS = 14
    OUTCOME = 15
    HELD_OUT = 16
    VALIDATE = 17
    GENERATE = 18


def _wrap(bits: Bits) -> Bits:
    """What int64 makes of a result: Python's integers do not wrap around by themselves."""
    return bits if isinstance(bits, Tensor) else (bits + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift_right(bits: Bits, by: int) -> Bits:
    """Logical shift of int64, whose own >> would copy the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Bits) -> Bits:
    bits = _wrap((bits ^ _shift_right(bits, 30)) * FIRST_FACTOR)
    bits = _wrap((bits ^ _shift_right(bits, 27)) * SECOND_FACTOR)
    return bits ^ _shift_right(bits, 31)


def _hash(*parts: int | Tensor) -> int | Tensor:
    """As hash_integers, but an integer as long as all parts are: a device that is handed a tensor waits for it."""
    bits: Any = 0
    for part in parts:
        bits = _mix(_wrap((bits ^ (part.long() if isinstance(part, Tensor) else int(part))) + GOLDEN))
    return bits


def hash_integers(*parts: int | Tensor) -> Tensor:
    """64 well-mixed bits for every combination of the given integers (int64 tensors broadcast together)."""
    return torch.as_tensor(_hash(*parts))


def seed_for(stream: Stream, seed: int, *keys: int) -> int:
    """A seed of its own for one use of the streams, so that two uses that share `seed` never draw the same number."""
    return int(hash_integers(seed, stream, *keys))


def to_unit(bits: Tensor) -> Tensor:
    """Maps 64 random bits to float64 in the open interval (0, 1): the midpoints of 2^52 equal cells.

    With 2^53 cells the midpoints in the upper half would need 54 bits, and the last would be rounded to 1.
    """
    return (_shift_right(bits, 12).double() + 0.5) * 2.0**-52


@dataclass(frozen=True)
class KeyedRng:
    """The noise of one pass over the data.

    Args:
        seed: of the whole run.
        epoch: the pass; noise is drawn anew in each. An int64 tensor gives every key a pass of its own.
    """

    seed: int
    epoch: int | Tensor

    def bits(self, stream: Stream, *keys: int | Tensor) -> Tensor:
        """64 random bits, int64, for every combination of `keys` (broadcast)."""
        return hash_integers(self.seed, stream, self.epoch, *keys)

    def uniform(self, stream: Stream, *keys: int | Tensor) -> Tensor:
        """Floats in (0, 1), float64, for every combination of `keys` (such as sample ids and positions)."""
        return to_unit(self.bits(stream, *keys))

    def integers(self, stream: Stream, bound: int | Tensor, *keys: int | Tensor) -> Tensor:
        """Integers in [0, bound), int64."""
        return (self.uniform(stream, *keys) * bound).long()

    def stratified(self, stream: Stream, indices: Tensor) -> Tensor:
        """Floats in (0, 1), float64, that spread evenly over any run of neighbouring `indices`.

        The Weyl sequence frac(shift + index * golden ratio), of the lowest discrepancy among such sequences, with a
        random shift: each value alone is uniform, and the values of a global batch, whose proteins have neighbouring
        indices, are stratified whatever ranks they fall on.
        """
        return to_unit(_hash(self.seed, stream, self.epoch) + indices * GOLDEN)
