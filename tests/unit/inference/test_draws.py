"""Errors of a likelihood: their parts against truth that is known, and the draws behind them."""

import math

import numpy as np
import pytest
import torch

from d2plm_megatron.inference.draws import Draws, draws_for
from d2plm_megatron.rng import KeyedRng, Stream

GENERATOR = np.random.default_rng(1)


def simulated(num_proteins: int, num_draws: int, between: float, within: float, slope: float = 0.0) -> Draws:
    """Proteins of 20 to 200 residues whose nats per residue are 2.5 on average, whatever their length.

    between and within are standard deviations, of proteins and of draws, and slope what the time makes of a draw, the
    times stratified as those of proteins are.
    """
    lengths = GENERATOR.integers(20, 201, num_proteins)
    keys = torch.from_numpy(GENERATOR.integers(0, 1 << 60, num_proteins))[:, None] + torch.arange(num_draws)
    times = KeyedRng(4, 0).stratified(Stream.TIME, keys).numpy() - 0.5
    of_protein = 2.5 + between * GENERATOR.standard_normal((num_proteins, 1))
    of_draw = within * GENERATOR.standard_normal((num_proteins, num_draws)) + slope * times
    residues = np.repeat(lengths[:, None], num_draws, axis=1)
    return Draws((of_protein + of_draw) * residues, residues)


def test_sums_are_divided_once():
    found = Draws(np.array([[6.0, 3.0, 12.0], [6.0, 21.0, 18.0]]), np.array([[3, 3, 3], [9, 9, 9]]))
    assert found.nats_per_residue == pytest.approx((1 + 2 + 2.5) / 3)
    assert found.perplexity == pytest.approx(math.exp(5.5 / 3))
    assert found.perplexity_error == pytest.approx(found.perplexity * found.standard_error)
    assert found.and_then(found).nats.shape == (2, 6)
    assert Draws(np.array([[7e4]]), np.array([[7]])).perplexity == math.inf


def test_what_cannot_be_told_is_none():
    residues = np.full((4, 3), 10)
    nats = residues * 2.0 + GENERATOR.standard_normal((4, 3))
    one_draw = Draws(nats[:, :1], residues[:, :1])
    assert one_draw.error_of_draws is None and one_draw.standard_error == one_draw.error_of_proteins > 0
    one_protein = Draws(nats[:1], residues[:1])
    assert one_protein.error_of_proteins is None and one_protein.standard_error == one_protein.error_of_draws > 0
    assert Draws(nats[:1, :1], residues[:1, :1]).perplexity_error is None


def test_two_draws_by_hand():
    """Of one protein: the standard deviation of two values over the square root of two."""
    found = Draws(np.array([[20.0, 26.0]]), np.array([[10, 10]]))
    assert found.error_of_draws == pytest.approx(np.std([2.0, 2.6], ddof=1) / math.sqrt(2))


@pytest.mark.parametrize("num_draws", [2, 5, 8])
def test_error_of_draws_is_that_of_repeated_evaluations(num_draws):
    """The same proteins again and again."""
    lengths = np.array([20, 50, 100, 200, 400])[:, None]
    residues = np.repeat(lengths, num_draws, axis=1)
    runs = [Draws((2 + 0.3 * GENERATOR.standard_normal(residues.shape)) * residues, residues) for _ in range(600)]
    spread = np.std([run.nats_per_residue for run in runs])
    assert math.sqrt(np.mean([run.error_of_draws**2 for run in runs])) == pytest.approx(spread, rel=0.1)


def test_stratified_draws_are_not_taken_for_independent_ones():
    """What the time alone makes of a draw averages out within each protein; all but the jump from 1 to 0 is told so."""
    runs = [simulated(40, 16, 0.0, 0.01, slope=1.0) for _ in range(60)]
    spread = float(np.std([run.nats_per_residue for run in runs]))
    told = float(np.mean([run.error_of_draws for run in runs]))
    as_if_independent = float(np.mean([run.nats.std(1, ddof=1).mean() / run.residues.mean() for run in runs])) / 4
    assert spread < told < 0.7 * as_if_independent / math.sqrt(40)


@pytest.mark.parametrize(("between", "within", "num_draws"), [(0.3, 0.0, 2), (0.1, 0.4, 4), (0.3, 0.3, 1)])
def test_coverage_of_the_whole_error(between, within, num_draws):
    """How often the truth, 2.5 nats per residue, lies within 1.96 standard errors of proteins and draws anew."""
    runs = [simulated(60, num_draws, between, within) for _ in range(120)]
    inside = np.mean([abs(run.nats_per_residue - 2.5) < 1.96 * run.standard_error for run in runs])
    assert 0.88 <= inside <= 0.99


def test_parts_of_the_error_are_what_was_put_in():
    runs = [simulated(100, 8, 0.2, 0.2) for _ in range(40)]
    lengths = np.arange(20, 201)
    share = math.sqrt((lengths**2).mean()) / lengths.mean() / 10  # of one protein's error in that of a hundred
    assert np.mean([run.error_of_proteins for run in runs]) == pytest.approx(0.2 * share, rel=0.1)
    assert np.mean([run.error_of_draws for run in runs]) == pytest.approx(0.2 * share / math.sqrt(8), rel=0.1)


def test_draws_that_it_takes():
    found = simulated(50, 4, 0.0, 0.5)
    error = found.perplexity * found.error_of_draws
    assert draws_for(found, error * 1.01) == 4
    assert draws_for(found, error / 3) in (36, 37)
