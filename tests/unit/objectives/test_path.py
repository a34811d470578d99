import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Cosine, Cubic, Polynomial
from d2plm_megatron.objectives.source import SOURCES, Mask, Uniform
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

MASKS = MixturePath(Polynomial(), Mask(), time_epsilon=1e-3)
RESIDUES = MixturePath(Polynomial(), Uniform(), time_epsilon=1e-3)
RNG = KeyedRng(seed=5, epoch=2)

proteins = st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)


def at(pack, t: float) -> torch.Tensor:
    return torch.full(pack.stream_index_S.shape, t, dtype=torch.float64)


@settings(max_examples=50)
@given(proteins, st.sampled_from([MASKS, RESIDUES]), st.floats(0, 1), st.integers(0, 1 << 30))
def test_only_canonical_residues_are_ever_noised(pack_of, sequences, path, t, seed):
    pack = pack_of(*sequences, ends=True)
    noisy_T = path.sample(pack, at(pack, t), KeyedRng(seed, 0))
    canonical_T = torch.tensor([alphabet.TOKENS[i] in alphabet.CANONICAL_LETTERS for i in pack.tokens_T.tolist()])
    assert torch.equal(noisy_T[~canonical_T], pack.tokens_T[~canonical_T])
    changed = noisy_T[noisy_T != pack.tokens_T].tolist()
    allowed = set(alphabet.CANONICAL_LETTERS) if path is RESIDUES else {"<mask>"}
    assert {alphabet.TOKENS[i] for i in changed} <= allowed


@pytest.mark.parametrize("path", [MASKS, RESIDUES], ids=["mask", "uniform"])
def test_ends_of_the_path(make_pack, path):
    pack = make_pack([3000])
    assert torch.equal(path.sample(pack, at(pack, 1.0), RNG), pack.tokens_T)
    start_T = path.sample(pack, at(pack, 0.0), RNG)
    if path is RESIDUES:
        same = float((start_T == pack.tokens_T).double().mean())
        assert same == pytest.approx(1 / 20, abs=4 * math.sqrt(0.05 * 0.95 / 3000))
    else:
        assert (start_T == alphabet.MASK).all()


@pytest.mark.parametrize(
    ("schedule", "t", "kappa"), [(Polynomial(), 0.3, 0.3), (Cosine(), 2 / 3, 0.5), (Polynomial(2), 0.9, 0.81)]
)
@pytest.mark.parametrize("source", ["mask", "uniform"])
def test_share_that_is_kept(make_pack, schedule, t, kappa, source):
    pack = make_pack([20_000])
    noisy_T = MixturePath(schedule, SOURCES[source], 1e-3).sample(pack, at(pack, t), RNG)
    expected = kappa + (1 - kappa) / 20 * (source == "uniform")  # a random residue may be the right one
    bound = 4 * math.sqrt(expected * (1 - expected) / 20_000)
    assert float((noisy_T == pack.tokens_T).double().mean()) == pytest.approx(expected, abs=bound)


@pytest.mark.parametrize("t", [0.0, 0.7])
def test_uniform_source_draws_every_canonical_residue_equally_often(pack_of, t):
    pack = pack_of("L" * 40_000)
    counts = RESIDUES.sample(pack, at(pack, t), RNG).bincount(minlength=alphabet.SIZE).double()
    assert counts[alphabet.CANONICAL].sum() == 40_000
    changed = counts[alphabet.CANONICAL][1:]  # to another residue than L
    mean = changed.mean()
    assert float(((changed - mean) ** 2 / mean).sum()) < 42.3  # 18 degrees of freedom, p = 0.001
    assert float(mean) == pytest.approx(2000 * (1 - t), rel=0.05)


@pytest.mark.parametrize("path", [MASKS, RESIDUES], ids=["mask", "uniform"])
def test_noise_of_a_protein_does_not_depend_on_its_neighbours(pack_of, path):
    sequences = ["MKTAYIAKQR", "LLLVVVAAA", "GSGSGSGSGSGS", "WY"]
    together = pack_of(*sequences)
    times_S = path.times(together, RNG)
    noisy = path.sample(together, times_S, RNG).split(list(together.lengths_S))
    order = [2, 0, 3, 1]
    for first, number in enumerate(order):
        alone = pack_of(sequences[number], first_sample=number)
        other = replace(pack_of(*(sequences[i] for i in order)), sample_ids_S=torch.tensor(order))
        assert path.times(alone, RNG).tolist() == [times_S[number].item()]
        assert torch.equal(path.sample(alone, times_S[number : number + 1], RNG), noisy[number])
        shuffled = path.sample(other, times_S[order], RNG).split(list(other.lengths_S))
        assert torch.equal(shuffled[first], noisy[number])


def test_noise_differs_between_proteins_positions_epochs_and_seeds(pack_of):
    pack = pack_of("A" * 400, "A" * 400)
    noisy = [MASKS.sample(pack, at(pack, 0.5), rng) for rng in (RNG, KeyedRng(5, 3), KeyedRng(6, 2))]
    halves = [half for noisy_T in noisy for half in noisy_T.split(400)]
    for number, one in enumerate(halves):
        for other in halves[:number]:
            assert 140 < int((one == other).sum()) < 260  # 200 expected, standard deviation 10


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_times_lie_below_1_minus_epsilon_and_are_even(make_pack, epsilon):
    pack = make_pack([1] * 2000)
    times_S = MixturePath(Polynomial(), Mask(), epsilon).times(pack, RNG).sort().values
    assert times_S.dtype == torch.float64
    assert times_S[0] > 0 and times_S[-1] < 1 - epsilon
    even = (torch.arange(2000) + 0.5) / 2000 * (1 - epsilon)
    assert float((times_S - even).abs().max()) < 4 / 2000


@pytest.mark.parametrize("schedule", [Polynomial(), Cosine()])
def test_mean_over_drawn_times_is_the_integral_over_time(schedule):
    path = MixturePath(schedule, Mask(), time_epsilon=0.01)
    times = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000 * 0.99
    masked_share = 1 - schedule.kappa(times)
    integral = schedule.kappa(torch.tensor(0.99, dtype=torch.float64))  # of kappa' over (0, 0.99)
    assert float((path.rate(times) * masked_share).mean()) == pytest.approx(float(integral), abs=1e-9)


@pytest.mark.parametrize("schedule", [Polynomial(), Polynomial(2), Cosine(), Cubic(0, 2)])
def test_times_of_a_likelihood_spread_the_masks_evenly_and_weigh_them_for_it(make_pack, schedule):
    """Drawn times and their weights, against the integral over kappa of a function of it."""
    path = MixturePath(schedule, Mask(), time_epsilon=0.3).for_likelihood()
    times_S = path.times(make_pack([1] * 20_000), RNG)
    kappa = schedule.kappa(times_S)
    even = (torch.arange(20_000) + 0.5) / 20_000
    assert float((kappa.sort().values - even).abs().max()) < 1e-3
    assert float((path.importance(times_S) * kappa**2).mean()) == pytest.approx(1 / 3, abs=1e-3)
    assert float((path.rate(times_S) * (1 - kappa) * kappa**2).mean()) == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize(("schedule", "left"), [(Polynomial(), 0.3), (Polynomial(2), 1 - 0.7**2)])
def test_last_stretch_is_guessed_without_the_encoder(schedule, left):
    """A mask is any of 20; a residue is what it was at first, or, as noise may be, each of the 19 others."""
    path = MixturePath(schedule, Mask(), time_epsilon=0.3)
    assert path.last_nll() == pytest.approx(left * math.log(20), rel=1e-12)
    guess = torch.tensor([1 - left + left / 20, *[left / 20] * 19], dtype=torch.float64)
    entropy = float(torch.distributions.Categorical(guess).entropy())
    assert replace(path, source=Uniform()).last_nll() == pytest.approx(entropy, rel=1e-12)
    even = replace(path, even_in_kappa=True)  # where the share of data, too, is drawn up to 0.7
    assert even.last_nll() == pytest.approx(0.3 * math.log(20), rel=1e-12)


def log_posterior_of(shares: list[float], count: int) -> torch.Tensor:
    """The same answer for each token: these shares of the first residues."""
    answer = torch.full((count, alphabet.SIZE), -torch.inf)
    answer[:, alphabet.FIRST_CANONICAL : alphabet.FIRST_CANONICAL + len(shares)] = torch.tensor(shares).log()
    return answer


@pytest.mark.parametrize("source", ["mask", "uniform"])
def test_rates_by_hand(source):
    """<cls> L A <mask>, at t = 0.5 of t^2: kappa' / (1 - kappa) = 4/3; over (0.5, 0.75) the mean of kappa' is 5/4."""
    tokens_T = torch.tensor([alphabet.CLS, 4, 5, alphabet.MASK])
    path = MixturePath(Polynomial(2), SOURCES[source], 1e-3)
    shares = [0.5, 0.3, 0.2]
    half, later = (torch.tensor(t, dtype=torch.float64) for t in (0.5, 0.75))
    for found, factor in (
        (path.rates(log_posterior_of(shares, 4), tokens_T, half), 4 / 3),
        (path.rates(log_posterior_of(shares, 4), tokens_T, half, until=later), 5 / 3),
    ):
        expected = torch.zeros(4, 20, dtype=torch.float64)
        if source == "mask":
            expected[3, :3] = factor * torch.tensor(shares)
        else:
            expected[1, :3] = factor * torch.tensor([0, 0.3, 0.2])
            expected[2, :3] = factor * torch.tensor([0.5, 0, 0.2])
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_rates_of_an_infinite_slope_are_refused_but_not_their_mean():
    path, tokens_T = MixturePath(Polynomial(0.5), Mask(), 1e-3), torch.tensor([alphabet.MASK])
    zero, one, step = (torch.tensor(t, dtype=torch.float64) for t in (0.0, 1.0, 0.25))
    answer = log_posterior_of([0.75, 0.25], 1)
    for t in (zero, one):
        with pytest.raises(ValueError, match=rf"the path's rate is infinite at t={float(t):g}: "):
            path.rates(answer, tokens_T, t)
    found = path.rates(answer, tokens_T, zero, until=step) * step  # half of the masks go in a quarter of the time
    torch.testing.assert_close(found[0, :2], torch.tensor([0.375, 0.125], dtype=torch.float64))


def test_who_may_jump_is_scored_and_may_be_noise(pack_of):
    pack = pack_of("LAX", ends=True)
    tokens_T = torch.tensor([alphabet.CLS, alphabet.MASK, 5, alphabet.MASK, alphabet.EOS])
    assert MASKS.candidates(tokens_T, pack).tolist() == [False, True, False, False, False]
    assert RESIDUES.candidates(pack.tokens_T, pack).tolist() == [False, True, True, False, False]
