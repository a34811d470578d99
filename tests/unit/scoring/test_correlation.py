"""Spearman's correlation against its definition, by hand."""

import numpy as np
import pytest

from d2plm_megatron.scoring.correlation import of_ranks, ranks, spearman


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [4, 1, 4, 2, 4]


def test_a_known_case_with_ties() -> None:
    """Ranks 1, 2.5, 2.5, 4 and 2, 1, 3.5, 3.5: covariance 3.75 - 0.75 ..., by hand 3 / sqrt(4.5 * 4.5)."""
    one, other = np.array([10.0, 20.0, 20.0, 30.0]), np.array([5.0, 1.0, 9.0, 9.0])
    first, second = np.array([-1.5, 0, 0, 1.5]), np.array([-0.5, -1.5, 1, 1])
    assert of_ranks(one, other) == pytest.approx(first @ second / np.sqrt((first @ first) * (second @ second)))
    assert of_ranks(one, other) == pytest.approx(2.25 / 4.5)


def test_without_ties_it_is_the_formula_of_rank_differences() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 50))
    d = ranks(one) - ranks(other)
    assert of_ranks(one, other) == pytest.approx(1 - 6 * (d @ d) / (50 * (50**2 - 1)))


def test_any_rising_function_gives_one() -> None:
    values = np.random.default_rng(1).normal(size=30)
    found = spearman(values, np.exp(values))
    assert found[:3] == pytest.approx((1, 1, 1)) and found.pairs == 30
    assert spearman(values, -values).value == pytest.approx(-1)


def test_pairs_without_a_value_are_left_out() -> None:
    predicted, measured = np.array([1.0, 2, 3, np.nan, 5]), np.array([1.0, 2, 3, 4, np.nan])
    assert spearman(predicted, measured)[0] == pytest.approx(1) and spearman(predicted, measured).pairs == 3
    for constant in (spearman(np.ones(4), np.arange(4.0)), spearman(np.empty(0), np.empty(0))):
        assert np.isnan(constant[:3]).all()


def test_the_interval_covers_the_truth() -> None:
    """Of 100 samples with Spearman's correlation (6 / pi) asin(r / 2), r = 0.6, about 95 intervals have it inside."""
    generator, truth = np.random.default_rng(2), 6 / np.pi * np.arcsin(0.3)
    inside = 0
    for _ in range(100):
        one, noise = generator.normal(size=(2, 150))
        found = spearman(one, 0.6 * one + 0.8 * noise)
        inside += found.low <= truth <= found.high
    assert 88 <= inside <= 100
