import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.objectives.metric_noising import FIRST_BETA, Noising
from d2plm_megatron.objectives.metric_path import MetricPath, asked_betas, ends_nll, most_known
from d2plm_megatron.objectives.schedules import Odds, Polynomial
from d2plm_megatron.proteins import alphabet, distances
from d2plm_megatron.rng import KeyedRng

BLOSUM62 = distances.to_power(distances.blosum62(), 1.0)
TABLE = np.array(BLOSUM62)
PATH = MetricPath(Odds(3, 0.9), BLOSUM62, 1e-3)
RNG = KeyedRng(seed=5, epoch=2)
LETTERS = alphabet.CANONICAL_LETTERS

proteins = st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)


def at(pack: TokenBatch, t: float) -> Tensor:
    return torch.full(pack.stream_index_S.shape, t, dtype=torch.float64)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 0.6])
def test_corruption_follows_the_chances(pack_of, t: float, power: float) -> None:
    """Chi-square of 20 residues, of what becomes of L and of W, against the definition in numpy."""
    table = np.array(distances.to_power(distances.blosum62(), power))
    beta, number = 3 * (t / (1 - t)) ** 0.9, 20_000
    path = replace(PATH, distance=tuple(map(tuple, table.tolist())))
    pack = pack_of("L" * number + "W" * number)
    found = path.sample(pack, at(pack, t), RNG).view(2, number) - alphabet.FIRST_CANONICAL
    for letter, ids in zip("LW", found, strict=True):
        expected = np.exp(-beta * table[LETTERS.index(letter)])
        expected *= number / expected.sum()
        counts = np.bincount(ids.numpy(), minlength=20)
        common = expected > 5
        assert counts.sum() == number and common.sum() >= 4
        chi_square = ((counts - expected) ** 2 / expected)[common].sum()
        assert chi_square < {20: 45.3}.get(int(common.sum()), 2.7 * common.sum() + 10)  # p < 0.001


@settings(max_examples=30)
@given(proteins, st.floats(0, 1), st.integers(0, 1 << 30))
def test_only_canonical_residues_are_ever_noised(pack_of, sequences: list[str], t: float, seed: int) -> None:
    pack = pack_of(*sequences, ends=True)
    noisy_T = PATH.sample(pack, at(pack, t), KeyedRng(seed, 0))
    assert torch.equal(noisy_T[~pack.scored_T], pack.tokens_T[~pack.scored_T])
    assert set(noisy_T[pack.scored_T].tolist()) <= set(range(4, 24))
    assert torch.equal(PATH.candidates(noisy_T, pack), pack.scored_T)
    if t == 1:
        assert torch.equal(noisy_T, pack.tokens_T)


def test_blanks_are_filled_with_random_residues(pack_of) -> None:
    pack = pack_of("L" * 10_000, ends=True)
    blank = replace(pack, tokens_T=torch.where(pack.scored_T, alphabet.MASK, pack.tokens_T))
    for t in (0.0, 0.6):
        counts = PATH.sample(blank, at(blank, t), RNG)[1:-1].bincount(minlength=alphabet.SIZE)[alphabet.CANONICAL]
        assert float(((counts - 500) ** 2 / 500).sum()) < 43.8  # 19 degrees of freedom, p = 0.001


def test_noise_of_a_protein_does_not_depend_on_its_neighbours(pack_of) -> None:
    together = pack_of("MKTAYIAKQR", "LLLVVVAAA", "WY")
    noisy = PATH.for_likelihood().corrupt(together, RNG)
    parts = noisy.tokens_T.split(list(together.lengths_S))
    for number, sequence in enumerate(["MKTAYIAKQR", "LLLVVVAAA", "WY"]):
        alone = PATH.for_likelihood().corrupt(pack_of(sequence, first_sample=number), RNG)
        assert torch.equal(alone.tokens_T, parts[number])
        assert alone.times_S.tolist() == [float(noisy.times_S[number])]


@pytest.mark.parametrize("epsilon", [1e-3, 0.4])
@pytest.mark.parametrize("even", [False, True])
def test_mean_over_drawn_times_is_the_integral_over_beta(make_pack, even: bool, epsilon: float) -> None:
    """Of beta exp(-beta) between the two betas that the encoder is asked at."""
    path = replace(PATH, time_epsilon=epsilon, even_in_information=even)
    first, last = asked_betas(path)
    assert first == FIRST_BETA
    assert last == pytest.approx(3 * 1.5**0.9 if epsilon == 0.4 else 27.9, rel=1e-2)
    times_S = path.times(make_pack([1] * 20_000), RNG)
    beta_S = path.beta(times_S)
    inside_S = (beta_S >= first * (1 - 1e-9)) & (beta_S <= last * (1 + 1e-9))
    assert inside_S.all() or not even
    found = (path.importance(times_S) * beta_S * (-beta_S).exp())[inside_S].sum() / 20_000
    assert float(found) == pytest.approx(1 - (1 + last) * math.exp(-last), abs=5e-3)
    assert float(times_S.max()) < 1 - epsilon * (1 - 1e-9)


def test_information_is_spread_evenly(make_pack) -> None:
    """What x_t tells of an evenly drawn x1, in numpy, at the drawn times."""
    beta_S = PATH.for_likelihood().beta(PATH.for_likelihood().times(make_pack([1] * 300), RNG))
    chances = np.exp(-beta_S.numpy()[:, None, None] * TABLE)
    chances /= chances.sum(-1, keepdims=True)
    told = (chances * np.log(chances / chances.mean(1, keepdims=True))).sum((1, 2)) / 20 / math.log(20)
    assert np.abs(np.sort(told) - (np.arange(300) + 0.5) / 300).max() < 0.01
    assert most_known(PATH.for_likelihood()) == 1
    known = Noising.of(BLOSUM62, torch.device("cpu"))
    found = known.beta_at(known.known_G)
    torch.testing.assert_close(found, known.log_beta_G.exp(), rtol=1e-9, atol=0)


def log_posterior_of(letters: str, shares: list[float], count: int) -> Tensor:
    answer = torch.full((count, alphabet.SIZE), -torch.inf)
    answer[:, alphabet.encode(letters).tolist()] = torch.tensor(shares).log()
    return answer


def test_rates_by_hand() -> None:
    """From W at t = 1/2, where beta = 3, towards L with 3/4 and Y with 1/4; from Y, which is right, towards L alone."""
    tokens_T = torch.tensor([alphabet.CLS, *alphabet.encode("WY").tolist(), alphabet.MASK])
    t, until = (torch.tensor(value, dtype=torch.float64) for value in (0.5, 0.75))
    slope = 3 * 0.9 * 4  # of 3 (t / (1 - t))^0.9
    mean_slope = 3 * (3**0.9 - 1) / 0.25
    answer = log_posterior_of("LY", [0.75, 0.25], 4)
    for found, factor in (
        (PATH.rates(answer, tokens_T, t), slope),
        (PATH.rates(answer, tokens_T, t, until), mean_slope),
    ):
        expected = np.zeros((4, 20))
        for row, letter in ((1, "W"), (2, "Y")):
            for share, x1 in ((0.75, "L"), (0.25, "Y")):
                to_x1 = TABLE[LETTERS.index(x1)]
                chances = np.exp(-3 * to_x1) / np.exp(-3 * to_x1).sum()
                expected[row] += share * factor * chances * (to_x1[LETTERS.index(letter)] - to_x1).clip(0)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-12)
    assert (found[[0, 3]] == 0).all() and found[1, LETTERS.index("W")] == 0


def test_infinite_rates_are_refused_but_not_their_mean() -> None:
    zero, one, step = (torch.tensor(t, dtype=torch.float64) for t in (0.0, 1.0, 0.01))
    answer, tokens_T = log_posterior_of("L", [1.0], 1), torch.tensor([5])
    for t in (zero, one):
        with pytest.raises(ValueError, match=rf"the path's rate is infinite at t={float(t):g}: "):
            PATH.rates(answer, tokens_T, t)
    found = PATH.rates(answer, tokens_T, zero, until=step).sum() * step
    assert float(found) == pytest.approx(3 * (1 / 99) ** 0.9 * (TABLE[0, 1] - TABLE[0]).clip(0).sum() / 20, rel=1e-6)


def test_euler_steps_reach_the_distribution_of_pairs() -> None:
    """Pairs of the letters L, A, G and V by the exact posterior: the error falls as one over the steps."""
    joint = torch.rand(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 2 + 0.02
    joint /= joint.sum()
    far = [float((walked(joint, steps) - joint).abs().sum() / 2) for steps in (4, 16, 64)]
    assert far[0] > 3 * far[1] > 9 * far[2]
    assert far[2] < 0.01


def walked(joint: Tensor, num_steps: int) -> Tensor:
    """Where Euler steps lead all 400 pairs of residues, by their exact chances; the last step draws x1."""
    path, pairs = replace(PATH, schedule=Polynomial()), torch.cartesian_prod(torch.arange(20), torch.arange(20))
    shares = torch.full((400,), 1 / 400, dtype=torch.float64)
    for t, s in pairwise(torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)):
        chances = torch.softmax(-path.beta(t) * torch.tensor(BLOSUM62, dtype=torch.float64), 1)[:4]
        both = torch.einsum("ab,an,bn->nab", joint, chances[:, pairs[:, 0]], chances[:, pairs[:, 1]])
        both /= both.sum((1, 2), keepdim=True).clamp(min=1e-300)
        posterior = torch.zeros(800, alphabet.SIZE, dtype=torch.float64)
        posterior[:, 4:8] = torch.stack([both.sum(2), both.sum(1)], 1).view(-1, 4)
        moves = posterior[:, 4:24]
        if s < 1:
            rates = path.rates(posterior.log(), 4 + pairs.view(-1), t, until=s)
            jumps = 1 - (-(s - t) * rates.sum(-1, keepdim=True)).exp()
            moves = jumps * rates / rates.sum(-1, keepdim=True).clamp(min=1e-300)
            moves += (1 - jumps) * torch.nn.functional.one_hot(pairs.view(-1), 20)
        first, second = moves.view(400, 2, 20).unbind(1)
        shares = torch.einsum("n,na,nb->ab", shares, first, second).reshape(-1)
    return shares.view(20, 20)[:4, :4]


def test_ends_cost_what_is_guessed_there() -> None:
    """In numpy: from random residues to those of the first beta, and from those of the last beta to x1."""
    path = replace(PATH, time_epsilon=0.4)
    first, last = (np.exp(-beta * TABLE) for beta in asked_betas(path))
    first, last = (chances / chances.sum(1, keepdims=True) for chances in (first, last))
    begin = (first * np.log(20 * first)).sum(1)
    end = -(last * np.log(last / last.sum(0))).sum(1)
    np.testing.assert_allclose(ends_nll(path), begin + end, rtol=1e-9)
    assert 0 < begin.max() < 1e-6 and end.min() > 0.3
    assert max(ends_nll(path.for_likelihood())) < 1e-3
