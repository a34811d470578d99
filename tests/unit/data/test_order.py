import math
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.order import permuted
from d2plm_megatron.rng import KeyedRng

PINNED = [
    [0, 0, 0],
    [0, 1, 1],
    [0, 1, 2],
    [27, 38, 23],
    [57, 13, 16],
    [145, 78, 104],
    [196, 252, 147],
    [3610, 3705, 2796],
    [3980, 2500, 1986],
    [44784, 38827, 33519],
    [654753181, 291665764, 930672880],
    [298852252421, 610358987121, 28168547751],
]  # fmt: skip


@settings(max_examples=40)
@given(st.integers(1, 5000), st.integers(0, 1 << 30), st.integers(0, 100))
def test_is_a_permutation(num_items, seed, epoch):
    items = permuted(torch.arange(num_items), num_items, KeyedRng(seed, epoch))
    assert torch.equal(items.sort().values, torch.arange(num_items))


@settings(max_examples=40)
@given(st.integers(2, 1 << 40), st.integers(0, 1 << 30), st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8))
def test_a_place_does_not_depend_on_what_is_asked_with_it(num_items, seed, numbers):
    places = torch.tensor([number % num_items for number in numbers])
    items = permuted(places, num_items, KeyedRng(seed, 0))
    assert ((items >= 0) & (items < num_items)).all()
    assert [permuted(place, num_items, KeyedRng(seed, 0)).item() for place in places] == items.tolist()
    assert len(set(items.tolist())) == len(set(places.tolist()))


@pytest.mark.parametrize("num_items", [1000, 1024, 1025])
def test_epochs_and_seeds_are_shuffled_apart(num_items):
    orders = [permuted(torch.arange(num_items), num_items, KeyedRng(s, e)).double() for s in range(3) for e in range(3)]
    orders.append(torch.arange(num_items, dtype=torch.float64))
    correlation = torch.corrcoef(torch.stack(orders)) - torch.eye(len(orders))
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(num_items)
    same = [int((one == other).sum()) for i, one in enumerate(orders) for other in orders[:i]]
    assert max(same) < 10  # places that agree by chance: 1 on average


def orders_of(num_items: int, num_epochs: int) -> torch.Tensor:
    """The orders of many epochs, [epochs, places]."""
    places, epochs = torch.arange(num_items).repeat(num_epochs), torch.arange(num_epochs).repeat_interleave(num_items)
    return permuted(places, num_items, KeyedRng(1, epochs)).view(num_epochs, num_items)


def deviation(counts: torch.Tensor, degrees: int) -> float:
    """Of counts whose expectations are all alike: chi-square as a normal number (Wilson and Hilferty 1931)."""
    expected = float(counts.sum()) / counts.numel()
    chi_square, spread = float(((counts - expected) ** 2 / expected).sum()), 2 / (9 * degrees)
    return ((chi_square / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


SMALL = [2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257]


@pytest.mark.parametrize("num_items", SMALL)
def test_every_item_comes_to_every_place_equally_often(num_items):
    """Items by places, and the items at the first two places together."""
    num_epochs = 20_000 if num_items < 20 else 400_000 // num_items
    orders = orders_of(num_items, num_epochs)
    counts = torch.stack([column.bincount(minlength=num_items) for column in orders.T]).double()
    degrees = (num_items - 1) ** 2
    assert deviation(counts * (num_items - 1) / num_items, degrees) < 3.1  # as its margins are fixed
    pairs = (orders[:, 0] * num_items + orders[:, 1]).bincount(minlength=num_items**2).view(num_items, num_items)
    others = ~torch.eye(num_items, dtype=torch.bool)
    if num_items < 20:
        assert deviation(pairs[others].double(), int(others.sum()) - 1) < 3.1


@pytest.mark.parametrize("num_items", [2, 3, 4, 5])
def test_every_order_of_a_few_items_is_as_likely_as_any_other(num_items):
    ways = math.factorial(num_items)
    orders = orders_of(num_items, 500 * ways)
    counts = (orders * num_items ** torch.arange(num_items)).sum(1).unique(return_counts=True)[1].double()
    assert len(counts) == ways
    assert deviation(counts, ways - 1) < 3.1


def test_values_never_change():
    """What a position in the data means must outlive a release; from 1 item to more than a network of 40 bits has."""
    ends = [1, 2, 5, 64, 65, 256, 257, 4096, 4097, 70_000, 10**9, (1 << 40) + 1]
    found = [[int(permuted(torch.tensor(place), n, KeyedRng(3, 1))) for place in (0, n // 2, n - 1)] for n in ends]
    assert found == PINNED


def test_a_few_of_a_billion_are_computed_alone():
    """Each asks for its place only: no array of a billion is made, which would take 8 GB."""
    num_items = 10**9
    places = torch.tensor([0, 1, num_items // 2, num_items - 1])
    tracemalloc.start()
    orders = torch.stack([permuted(places, num_items, KeyedRng(0, epoch)) for epoch in range(50)])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1e6
    assert orders.min() >= 0 and orders.max() < num_items and len(orders.unique()) == 200
    assert abs(float(orders.double().mean()) / num_items - 0.5) < 4 * 12**-0.5 / 200**0.5
