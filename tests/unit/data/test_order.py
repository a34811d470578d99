import math
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.order import permuted
from d2plm_megatron.noise import Noise


@settings(max_examples=40)
@given(st.integers(1, 5000), st.integers(0, 1 << 30), st.integers(0, 100))
def test_is_a_permutation(num_items, seed, epoch):
    items = permuted(torch.arange(num_items), num_items, Noise(seed, epoch))
    assert torch.equal(items.sort().values, torch.arange(num_items))


@settings(max_examples=40)
@given(st.integers(2, 1 << 40), st.integers(0, 1 << 30), st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8))
def test_a_place_does_not_depend_on_what_is_asked_with_it(num_items, seed, numbers):
    places = torch.tensor([number % num_items for number in numbers])
    items = permuted(places, num_items, Noise(seed, 0))
    assert ((items >= 0) & (items < num_items)).all()
    assert [permuted(place, num_items, Noise(seed, 0)).item() for place in places] == items.tolist()
    assert len(set(items.tolist())) == len(set(places.tolist()))


@pytest.mark.parametrize("num_items", [1000, 1024, 1025])
def test_epochs_and_seeds_are_shuffled_apart(num_items):
    orders = [permuted(torch.arange(num_items), num_items, Noise(s, e)).double() for s in range(3) for e in range(3)]
    orders.append(torch.arange(num_items, dtype=torch.float64))
    correlation = torch.corrcoef(torch.stack(orders)) - torch.eye(len(orders))
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(num_items)
    same = [int((one == other).sum()) for i, one in enumerate(orders) for other in orders[:i]]
    assert max(same) < 10  # places that agree by chance: 1 on average


def test_every_item_comes_to_every_place():
    """Over many epochs the item at a place is uniform: chi-square over the 12 x 12 table, whose margins are fixed."""
    orders = torch.stack([permuted(torch.arange(12), 12, Noise(0, epoch)) for epoch in range(480)])
    counts = torch.stack([column.bincount(minlength=12) for column in orders.T]).double()
    assert float(((counts - 40) ** 2 / 40).sum()) * 11 / 12 < 173.6  # 121 degrees of freedom, p = 0.0012


def test_a_few_of_a_billion_are_computed_alone():
    """Each asks for its place only: no array of a billion is made, which would take 8 GB."""
    num_items = 10**9
    places = torch.tensor([0, 1, num_items // 2, num_items - 1])
    tracemalloc.start()
    orders = torch.stack([permuted(places, num_items, Noise(0, epoch)) for epoch in range(50)])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1e6
    assert orders.min() >= 0 and orders.max() < num_items and len(orders.unique()) == 200
    assert abs(float(orders.double().mean()) / num_items - 0.5) < 4 * 12**-0.5 / 200**0.5
