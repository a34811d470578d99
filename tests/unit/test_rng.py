import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.rng import KeyedRng, Stream, hash_integers, to_unit

MASK64 = (1 << 64) - 1
INCREMENT = 0x9E3779B97F4A7C15

PINNED_BITS = 0x9A3BAB1FFFF013E9
PINNED_TIMES = [0.10584086659863745, 0.7238748553485324, 0.0006890195985584935]

int64s = st.integers(-(1 << 63), (1 << 63) - 1)


def mixed(bits: int) -> int:
    """The finaliser of SplitMix64 in Python's integers."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK64
    return bits ^ (bits >> 31)


def hashed(*parts: int) -> int:
    bits = 0
    for part in parts:
        bits = mixed(((bits ^ (part & MASK64)) + INCREMENT) & MASK64)
    return bits


def star_discrepancy(values: torch.Tensor) -> float:
    """Largest difference between the empirical distribution function and that of the uniform distribution."""
    values, n = values.sort().values, len(values)
    place = torch.arange(n, dtype=torch.float64)
    return float(torch.maximum((place + 1) / n - values, values - place / n).max())


def test_published_values_of_splitmix64():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    for number, value in enumerate(published):  # of seed 1234567, whose state grows by INCREMENT
        state = (1234567 + number * INCREMENT + (1 << 63)) % (1 << 64) - (1 << 63)
        assert int(hash_integers(state)) & MASK64 == value


@given(st.lists(int64s, min_size=1, max_size=6))
def test_hash_is_that_of_pure_integers(parts):
    assert int(hash_integers(*parts)) & MASK64 == hashed(*parts)
    tensors = [torch.tensor([part, 0]) for part in parts]
    expected = [hashed(*parts), hashed(*[0] * len(parts))]
    assert [bits & MASK64 for bits in hash_integers(*tensors).tolist()] == expected


@given(st.lists(int64s, min_size=2, max_size=6), st.integers(0, 63))
def test_any_mixture_of_integers_and_tensors_hashes_the_same(parts, which):
    """Integers are hashed on the host as far as the first tensor; nothing may tell where that was."""
    mixture = [torch.tensor([part]) if which >> place & 1 else part for place, part in enumerate(parts)]
    assert int(hash_integers(*mixture)) & MASK64 == hashed(*parts)
    stratified = KeyedRng(parts[0], parts[1]).stratified(Stream.TIME, torch.tensor([parts[-1]]))
    assert stratified == to_unit(
        hash_integers(parts[0], Stream.TIME, parts[1]) + parts[-1] * torch.tensor(INCREMENT - (1 << 64))
    )


def test_values_never_change():
    assert {stream.name: int(stream) for stream in Stream} == {
        "TIME": 1, "CORRUPT": 2, "CHOICE": 3, "REPLACE": 4, "ORDER": 5, "CROP": 6, "PACKS": 7, "WEIGHTS": 8,
        "LENGTH": 9, "REVEAL": 10, "RESIDUE": 11, "EVALUATE": 12, "MEMBER": 13, "CORPUS": 14, "OUTCOME": 15,
        "HELD_OUT": 16, "VALIDATE": 17, "GENERATE": 18,
    }  # fmt: skip
    rng = KeyedRng(seed=42, epoch=7)
    assert int(rng.bits(Stream.CORRUPT, 3, 4)) & MASK64 == hashed(42, 2, 7, 3, 4) == PINNED_BITS
    assert float(rng.uniform(Stream.CORRUPT, 3, 4)) == ((PINNED_BITS >> 12) + 0.5) / 2**52
    weyl = [((hashed(42, 1, 7) + k * INCREMENT & MASK64) >> 12) + 0.5 for k in (0, 1, 10**12)]
    found = rng.stratified(Stream.TIME, torch.tensor([0, 1, 10**12]))
    assert found.tolist() == [value / 2**52 for value in weyl]
    assert found.tolist() == pytest.approx(PINNED_TIMES, abs=1e-15)


@given(int64s)
def test_unit_interval_is_open(bits):
    assert 0 < float(to_unit(torch.tensor(bits))) < 1


def test_ends_of_the_unit_interval():
    assert to_unit(torch.tensor([0, -1, -(1 << 63)])).tolist() == [2.0**-53, 1 - 2.0**-53, 0.5 + 2.0**-53]


def test_integers_are_uniform_and_in_range():
    drawn = KeyedRng(0, 0).integers(Stream.REPLACE, 20, torch.arange(100_000))
    counts = drawn.bincount(minlength=20).double()
    assert len(counts) == 20
    assert float(((counts - 5000) ** 2 / 5000).sum()) < 43.8  # chi-square, 19 degrees of freedom, p = 0.001


def test_uniform_is_uniform_in_every_direction():
    numbers = torch.arange(1 << 16)
    for keys in ((numbers, 0), (0, numbers), (numbers >> 8, numbers & 255)):
        values = KeyedRng(0, 0).uniform(Stream.CORRUPT, *keys)
        counts = torch.histc(values.float(), 64, 0, 1).double()
        assert float(((counts - 1024) ** 2 / 1024).sum()) < 103.4  # 63 degrees of freedom, p = 0.001
        assert abs(float(values.mean()) - 0.5) < 4 / math.sqrt(12 * (1 << 16))


def test_draws_that_differ_in_any_key_are_uncorrelated():
    samples, position = torch.arange(1 << 16), 5
    draws = [
        KeyedRng(0, 0).uniform(Stream.CORRUPT, samples, position),
        KeyedRng(1, 0).uniform(Stream.CORRUPT, samples, position),
        KeyedRng(0, 1).uniform(Stream.CORRUPT, samples, position),
        KeyedRng(0, 0).uniform(Stream.REPLACE, samples, position),
        KeyedRng(0, 0).uniform(Stream.CORRUPT, samples, position + 1),
        KeyedRng(0, 0).uniform(Stream.CORRUPT, position, samples),
        KeyedRng(0, 0).uniform(Stream.CORRUPT, samples + 1, position),
        KeyedRng(0, 0).uniform(Stream.CORRUPT, samples),
    ]
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(1 << 16)


@given(st.integers(0, 1 << 40), st.integers(1, 50), st.integers(0, 49))
def test_a_draw_does_not_depend_on_what_is_drawn_with_it(first, count, alone):
    samples = first + torch.arange(count)
    alone %= count
    together = KeyedRng(3, 1).uniform(Stream.CORRUPT, samples[:, None], torch.arange(4))
    assert torch.equal(together[alone], KeyedRng(3, 1).uniform(Stream.CORRUPT, samples[alone], torch.arange(4)))
    times = KeyedRng(3, 1).stratified(Stream.TIME, samples)
    assert times[alone] == KeyedRng(3, 1).stratified(Stream.TIME, samples[alone])


def test_a_stratified_value_is_uniform_over_seeds_and_epochs():
    ordinals = torch.tensor([0, 12345])
    values = torch.stack([KeyedRng(s, e).stratified(Stream.TIME, ordinals) for s in range(64) for e in range(32)])
    for column in values.T:
        assert star_discrepancy(column) < 1.95 / math.sqrt(2048)  # Kolmogorov and Smirnov, p = 0.001


@settings(max_examples=50)
@given(st.integers(0, 1 << 40), st.integers(16, 4096), st.integers(0, 1 << 30))
def test_neighbouring_ordinals_are_spread_far_more_evenly_than_by_chance(first, count, seed):
    values = KeyedRng(seed, 0).stratified(Stream.TIME, first + torch.arange(count))
    assert count * star_discrepancy(values) < 4  # independent draws: 0.87 sqrt(count) on average, 56 at 4096
