import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.packing import best_fit


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(60, 100))
def test_every_item_once_and_no_pack_too_full(lengths, capacity):
    packs = best_fit(lengths, capacity)
    assert sorted(item for pack in packs for item in pack) == list(range(len(lengths)))
    totals = [sum(lengths[item] for item in pack) for pack in packs]
    assert all(0 < total <= capacity for total in totals)
    if len(totals) > 1:  # no two packs would fit into one
        assert sum(sorted(totals)[:2]) > capacity


def fewest_packs(lengths: list[int], capacity: int) -> int:
    """By going through all subsets, as bits: (packs, tokens in the last one), least first, of each."""
    best = [(1, 0)]
    for subset in range(1, 1 << len(lengths)):
        ways = []
        for item, length in enumerate(lengths):
            if subset >> item & 1:
                packs, used = best[subset ^ 1 << item]
                ways.append((packs, used + length) if used + length <= capacity else (packs + 1, length))
        best.append(min(ways))
    return best[-1][0]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(60, 100))
def test_close_to_the_fewest_packs(lengths, capacity):
    fewest = fewest_packs(lengths, capacity)
    assert fewest <= len(best_fit(lengths, capacity)) <= 11 / 9 * fewest + 6 / 9


def test_best_fit_goes_where_least_room_is_left():
    assert best_fit([50, 60, 40, 30, 10], 100) == [[1, 2], [0, 3, 4]]
    assert best_fit([7, 7, 7], 7) == [[0], [1], [2]]
    assert best_fit([], 7) == []


def test_packs_of_proteins_are_full():
    """Lengths of UniRef50 are about log-normal, with a median of some 250 residues; long ones are cropped."""
    lengths = np.random.default_rng(0).lognormal(math.log(250), 0.7, 8192).clip(20, 1022).astype(int) + 2
    for capacity in (2048, 8192, 16384):
        packs = best_fit(lengths.tolist(), capacity)
        assert lengths.sum() / (len(packs) * capacity) > 0.98
