from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.data.packing import in_order, pack

WINDOW, NUM_WINDOWS, PACKS_PER_BATCH = 8192, 20, 4
many_lengths = st.lists(st.integers(1, 60), max_size=80)


@given(many_lengths, st.integers(60, 100))
def test_every_item_once_and_no_pack_too_full(lengths, capacity):
    packs = pack(lengths, capacity)
    assert sorted(item for items in packs for item in items) == list(range(len(lengths)))
    rooms = [capacity - sum(lengths[item] for item in items) for items in packs]
    assert all(0 <= room < capacity for room in rooms)
    for number, room in enumerate(rooms):  # nothing that came later would have fitted
        assert all(lengths[item] > room for items in packs[number + 1 :] for item in items)


def plainly_packed(lengths: list[int], capacity: int) -> list[list[int]]:
    """The same in as many words."""
    left, packs = list(range(len(lengths))), []
    while left:
        packs.append([])
        room = capacity
        while left and lengths[left[0]] <= room:
            room -= lengths[left[0]]
            packs[-1].append(left.pop(0))
        while fitting := [item for item in left if lengths[item] <= room]:
            longest = max(fitting, key=lambda item: lengths[item])
            room -= lengths[longest]
            packs[-1].append(longest)
            left.remove(longest)
    return packs


@given(many_lengths, st.integers(60, 100))
def test_runs_of_the_order_closed_by_the_longest_that_fits(lengths, capacity):
    assert pack(lengths, capacity) == plainly_packed(lengths, capacity)
    assert pack(np.array(lengths, dtype=np.int32), capacity) == pack(lengths, capacity)


def test_by_hand():
    assert pack([50, 60, 30, 40, 20, 10, 20], 100) == [[0, 3, 5], [1, 2], [4, 6]]
    assert pack([7, 7, 7], 7) == [[0], [1], [2]]
    assert pack([], 7) == []


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(30, 100))
def test_packs_in_order_end_where_the_next_item_does_not_fit(lengths, capacity):
    packs = list(in_order(enumerate(lengths), lambda item: item[1], capacity))
    assert [item for together in packs for item in together] == list(enumerate(lengths))
    used = [sum(length for _, length in together) for together in packs]
    assert all(size <= capacity or len(together) == 1 for size, together in zip(used, packs, strict=True))
    assert all(size + packs[number + 1][0][1] > capacity for number, size in enumerate(used[:-1]))


def test_packs_in_order_are_there_before_all_items_are_read():
    assert next(in_order(count(1), lambda item: item, 10)) == [1, 2, 3, 4]


def natural(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of proteins with UniRef90's lengths, of one corpus."""
    lengths = generator.lognormal(5.55, 0.72, WINDOW).clip(12, 1022).astype(int) + 2
    return lengths, np.zeros(WINDOW, dtype=int)


def short_and_long(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of two corpora, 0.7 of the proteins from that with the short ones."""
    corpora = (generator.random(WINDOW) >= 0.7).astype(int)
    lengths = np.where(corpora == 0, generator.integers(40, 81, WINDOW), generator.integers(300, 501, WINDOW)) + 2
    return lengths, corpora


def next_fit(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """The order itself, cut where a pack is full."""
    packs, room = [], 0
    for item, length in enumerate(lengths.tolist()):
        if length > room:
            packs.append([])
            room = capacity
        packs[-1].append(item)
        room -= length
    return packs


class Spread:
    """What differs between the packs and batches of many windows, as standard deviations over means."""

    def __init__(self, packing: Callable, draw: Callable, capacity: int) -> None:
        generator, counts, costs, firsts, tokens = np.random.default_rng(0), [], [], [], 0
        for _ in range(NUM_WINDOWS):
            lengths, corpora = draw(generator)
            packs = packing(lengths, capacity)
            counts += [len(items) for items in packs]
            costs += [np.square(lengths[items]).sum() for items in packs]
            firsts += [(corpora[items] == 0).sum() for items in packs]
            tokens += lengths.sum()
        self.efficiency = tokens / (len(counts) * capacity)
        per_batch = self._batches(counts)
        self.relative = {
            "proteins of a batch": per_batch.std() / per_batch.mean(),
            "attention of a pack": np.std(costs) / np.mean(costs),
            "attention of a batch": self._batches(costs).std() / self._batches(costs).mean(),
            "share of a corpus": (self._batches(firsts) / per_batch).std(),
        }

    @staticmethod
    def _batches(of_packs: list[int]) -> np.ndarray:
        whole = len(of_packs) // PACKS_PER_BATCH * PACKS_PER_BATCH
        return np.array(of_packs[:whole], dtype=float).reshape(-1, PACKS_PER_BATCH).sum(axis=1)


@pytest.mark.parametrize(
    ("draw", "capacity", "efficiency"),
    [(natural, 16_384, 0.996), (natural, 2048, 0.997), (short_and_long, 16_384, 0.99), (short_and_long, 2048, 0.99)],
)
def test_packs_are_full_and_as_alike_as_runs_of_the_order(draw, capacity, efficiency):
    """No spread is more than 1.5 times that of the order itself; the last pack of a window has some part in it."""
    packed, order = Spread(pack, draw, capacity), Spread(next_fit, draw, capacity)
    assert packed.efficiency > efficiency
    for what, spread in packed.relative.items():
        assert spread <= 1.5 * order.relative[what], what
