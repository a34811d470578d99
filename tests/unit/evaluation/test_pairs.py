"""Differences of two models, of which the truth is known."""

import numpy as np
import pytest

from d2plm_megatron.evaluation.pairs import Difference
from d2plm_megatron.evaluation.student import student_95
from d2plm_megatron.inference.draws import Draws


def two(generator: np.random.Generator, proteins: int, effect: float = 0.0, spread: float = 0.0) -> tuple[Draws, Draws]:
    """Of a model and another whose nats per residue are higher by `effect`, which varies over proteins by `spread`.

    Proteins and draws vary far more, alike for both; what noise does to each model alone is small.
    """
    lengths_P1 = generator.integers(50, 400, (proteins, 1))
    residues = np.repeat(lengths_P1, 4, axis=1)
    alike = 2.5 + 0.4 * generator.normal(size=(proteins, 1)) + 0.1 * generator.normal(size=residues.shape)
    own = 0.01 * generator.normal(size=(2, *residues.shape))
    higher = effect + spread * generator.normal(size=(proteins, 1))
    return Draws((alike + own[0]) * residues, residues), Draws((alike + own[1] + higher) * residues, residues)


def test_a_known_amount_is_found_far_below_the_errors_of_the_two():
    first, other = two(np.random.default_rng(0), 200, effect=0.02, spread=0.01)
    found, back = Difference.between(first, other), Difference.between(other, first)
    assert found.nats == pytest.approx(0.02, abs=4 * found.draws.standard_error)
    assert found.nats == pytest.approx(other.nats_per_residue - first.nats_per_residue, abs=1e-12)
    assert found.draws.standard_error < first.standard_error / 10
    assert back.nats == pytest.approx(-found.nats, abs=1e-15)
    assert back.interval == pytest.approx([-end for end in found.interval[::-1]], abs=1e-12)
    assert back.share_better == pytest.approx(1 - found.share_better)
    assert 0.0 < found.share_better < 0.2
    assert found.verdict("B", "A").startswith("A is better than B by 0.0") and "+- 0.00" in found.verdict("B", "A")
    assert back.verdict("A", "B") == found.verdict("B", "A")


def test_a_constant_is_found_to_the_last_digit_and_no_difference_is_called_that():
    first, _ = two(np.random.default_rng(1), 30)
    worse = Difference.between(first, Draws(first.nats + 0.5 * first.residues, first.residues))
    assert worse.nats == pytest.approx(0.5, abs=1e-12) and worse.draws.standard_error < 1e-12
    assert worse.share_better == 0
    same = Difference.between(first, first)
    assert (same.nats, same.share_better) == (0, 0.5)
    assert same.verdict("B", "A") == "B and A give the same to the last digit"
    alike = Difference.between(*two(np.random.default_rng(3), 30, spread=0.1))
    assert alike.verdict("B", "A").startswith("B and A cannot be told apart: ")
    assert alike.verdict("B", "A").endswith("more proteins may")


@pytest.mark.parametrize("proteins", [5, 60])
def test_the_interval_holds_the_truth_as_often_as_it_says(proteins: int) -> None:
    generator, held = np.random.default_rng(2), 0
    for _ in range(400):
        interval = Difference.between(*two(generator, proteins, effect=0.03, spread=0.05)).interval
        assert interval is not None
        held += interval[0] < 0.03 < interval[1]
    assert 0.93 <= held / 400 <= 0.97


def test_quantiles_are_those_of_tables():
    found = [student_95(degrees) for degrees in (1, 2, 4, 10, 59, 10**6)]
    assert found == pytest.approx([12.7062, 4.3027, 2.7764, 2.2281, 2.0010, 1.9600], abs=1e-4)


def test_few_proteins_decide_nothing():
    one = Difference.between(*two(np.random.default_rng(1), 1, effect=0.5))
    assert one.interval is None and one.as_json()["interval"] is None
    assert one.verdict("B", "A").endswith("on one protein, which tells nothing about others")
    five = Difference.between(*two(np.random.default_rng(1), 5, effect=0.5))
    assert five.verdict("B", "A").startswith("A is better than B by 0.")
    assert five.verdict("B", "A").endswith(", of 5 proteins alone")


def test_what_has_no_noise_is_compared_with_each_draw():
    first, other = two(np.random.default_rng(0), 40, effect=0.1)
    floor = Draws(first.nats.mean(1, keepdims=True), first.residues[:, :1])
    found = Difference.to_one_draw(floor, other)
    assert found.nats == pytest.approx(other.nats_per_residue - first.nats_per_residue)


def test_other_residues_are_not_compared():
    first, other = two(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="not measured at the same residues"):
        Difference.between(first, Draws(other.nats, other.residues + 1))
