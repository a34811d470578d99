"""Packs: proteins end to end, up to a fixed number of tokens."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def pack(lengths: Sequence[int] | np.ndarray, capacity: int) -> list[list[int]]:
    """Groups items of the given lengths into packs of at most `capacity`, and returns the indices in each pack.

    Packs are filled one after the other with the items in the order given, which should be random. When the next item
    does not fit, the longest of the remaining items that do close the pack. Therefore a pack is a run of the order
    except for its last few items, packs have nearly the same mixture, and only the last one has much room.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    waiting = _Waiting(lengths)
    packs: list[list[int]] = [[]]
    room = capacity
    for item, length in enumerate(lengths.tolist()):
        if not waiting.has(item):
            continue
        if length > room:
            packs[-1] += waiting.take_to_fill(room)
            packs.append([])
            room = capacity
        waiting.take(item)
        packs[-1].append(item)
        room -= length
    return packs if len(lengths) else []


def in_order(items: Iterable[Item], length: Callable[[Item], int], capacity: int) -> Iterator[list[Item]]:
    """Yields packs that are filled in the order given until the next item does not fit, each as soon as it is full.

    An item that is longer than `capacity` has a pack of its own.
    """
    together: list[Item] = []
    used = 0
    for item in items:
        if together and used + length(item) > capacity:
            yield together
            together, used = [], 0
        together.append(item)
        used += length(item)
    if together:
        yield together


class _Waiting:
    """The items that are in no pack yet. The longest one that fits is found without a search.

    Items are ranked by length, from 1; of equal items the first has the highest rank. Each rank points to itself while
    its item waits, and else to a lower rank, from which the nearest one with a waiting item is reached (Tarjan 1975).
    """

    def __init__(self, lengths: np.ndarray) -> None:
        items = len(lengths) - 1 - np.argsort(lengths[::-1], kind="stable")
        ranks = np.empty_like(items)
        ranks[items] = np.arange(1, len(items) + 1)
        self._lengths, self._items, self._ranks = lengths[items].tolist(), items.tolist(), ranks.tolist()
        self._below = list(range(len(items) + 1))

    def has(self, item: int) -> bool:
        rank = self._ranks[item]
        return self._below[rank] == rank

    def take(self, item: int) -> None:
        self._below[self._ranks[item]] -= 1

    def take_to_fill(self, room: int) -> list[int]:
        """Takes the longest item that fits into the room, then the longest for what is left of it, until none fits."""
        taken: list[int] = []
        while rank := self._nearest(bisect_right(self._lengths, room)):
            taken.append(self._items[rank - 1])
            self._below[rank] -= 1
            room -= self._lengths[rank - 1]
        return taken

    def _nearest(self, rank: int) -> int:
        """The highest rank up to this one whose item waits, or 0. The way there is halved for the next call."""
        below = self._below
        while below[rank] != rank:
            below[rank] = rank = below[below[rank]]
        return rank
