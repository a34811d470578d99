import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.sampling.sampler import Sampler, draw

RNG = KeyedRng(seed=3, epoch=0)
SHARES = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


KAPPA: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "cosine": lambda t: 1 - math.cos(math.pi / 2 * t),
    "polynomial:2": lambda t: t**2,
    "polynomial:0.5": math.sqrt,  # whose rate is infinite at t = 0
}


def sampler(num_steps: int, schedule: str = "linear", source: str = "mask", **options) -> Sampler:
    path = MixturePath(build_schedule(schedule), SOURCES[source], 1e-5)
    return Sampler(path, num_steps, **{"temperature": 1.0, "depends_on_time": source == "uniform", **options})


def blank_pack(lengths: list[int], first_sample: int = 0) -> TokenBatch:
    """Proteins that are all to be filled, with these sample ids from the first on."""
    [pack] = pack_sequences(lengths, sum(lengths) + 2 * len(lengths)).packs
    samples_S = pack.sample_ids_S + first_sample
    return replace(pack, sample_ids_S=samples_S, stream_index_S=samples_S)


def bare_pack(number: int, length: int) -> TokenBatch:
    """Proteins without end tokens, all to be filled."""
    pack = blank_pack([length] * number)
    inside = pack.scored_T
    return replace(
        pack,
        tokens_T=pack.tokens_T[inside],
        positions_T=pack.positions_T[inside],
        sequence_T=pack.sequence_T[inside],
        scored_T=pack.scored_T[inside],
        lengths_S=(length,) * number,
    )


def chi_square(counts: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def constant(noisy: NoisyBatch) -> torch.Tensor:
    """Every place is LAGV with SHARES, whatever the others are."""
    logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
    logits_TV[:, 4:8] = SHARES.log()
    return logits_TV


@pytest.mark.parametrize("num_steps", [1, 2, 5, 32])
@pytest.mark.parametrize("schedule", KAPPA)
def test_single_residues_are_drawn_exactly_in_any_number_of_steps(num_steps, schedule):
    tokens_T, _ = sampler(num_steps, schedule).sample(bare_pack(8000, 1), constant, RNG)
    counts = tokens_T.bincount(minlength=33).double()
    assert int(counts[4:8].sum()) == 8000
    assert chi_square(counts[4:8], 8000 * SHARES) < 16.3  # 3 degrees of freedom, p = 0.001


@pytest.mark.parametrize("schedule", [*KAPPA, "polynomial:0.01", "polynomial:100", "cubic:1.3:0.7"])
@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_what_has_not_jumped_is_what_the_path_leaves(num_steps, schedule):
    grid = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    walk = sampler(num_steps, schedule)
    jumps = torch.tensor([walk._jump_probability(t, s) for t, s in pairwise(grid)], dtype=torch.float64)
    left = 1 - build_schedule(schedule).kappa(grid[1:])
    torch.testing.assert_close((1 - jumps).cumprod(0), left, rtol=1e-9, atol=1e-12)
    assert jumps[-1] == 1


def total_variation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().sum()) / 2


@pytest.mark.parametrize("num_steps", [1, 2, 4, 64])
@pytest.mark.parametrize("schedule", KAPPA)
def test_pairs_are_drawn_exactly_but_for_those_revealed_together(pairs, num_steps, schedule):
    """Both are revealed in the step from t to s, and so drawn apart, with probability (kappa(s) - kappa(t))^2.

    That is the whole error: of first order in the length of a step, even where the rate is infinite.
    """
    kappa = [KAPPA[schedule](k / num_steps) for k in range(num_steps + 1)]
    apart = sum((there - here) ** 2 for here, there in pairwise(kappa))
    product = pairs.joint.sum(1)[:, None] * pairs.joint.sum(0)
    expected = apart * product + (1 - apart) * pairs.joint
    tokens_T, num_evaluations = sampler(num_steps, schedule).sample(
        bare_pack(12_000, 2), lambda noisy: pairs(noisy)[0], RNG
    )
    first, second = (tokens_T.view(-1, 2) - 4).T
    counts = (4 * first + second).bincount(minlength=16).double()
    assert chi_square(counts, 12_000 * expected.flatten()) < 37.7  # 15 degrees of freedom, p = 0.001
    assert num_evaluations == num_steps
    assert total_variation(expected, pairs.joint) < 0.75 / num_steps


@pytest.mark.parametrize("schedule", [*KAPPA, "cubic:0:2"])
def test_masked_share_follows_the_path(schedule):
    seen = []

    def denoiser(noisy: NoisyBatch) -> torch.Tensor:
        seen.append((noisy.times_S[0].item(), (noisy.tokens_T == alphabet.MASK).double().mean().item()))
        return constant(noisy)

    sampler(8, schedule).sample(bare_pack(1, 10_000), denoiser, RNG)
    assert [t for t, _ in seen] == [k / 8 for k in range(8)]
    for t, share in seen:
        expected = 1 - float(build_schedule(schedule).kappa(torch.tensor(t, dtype=torch.float64)))
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 10_000) + 1e-9)


class NoisyPairs:
    """Pairs of residues on the path of the uniform source; calling it gives the exact posterior of each place."""

    def __init__(self, joint: torch.Tensor, schedule: str) -> None:
        self.kappa = KAPPA[schedule]
        self.joint = torch.zeros(20, 20, dtype=torch.float64)
        self.joint[:4, :4] = joint

    def posteriors(self, t: float) -> torch.Tensor:
        """p(x1 | x_t) of the first and of the second residue, [2, x_t, y_t, 20]."""
        kept = self.kappa(t) * torch.eye(20, dtype=torch.float64) + (1 - self.kappa(t)) / 20  # [x1, x_t]
        together = torch.einsum("ab,ax,by->xyab", self.joint, kept, kept)
        return torch.stack([together.sum(3), together.sum(2)]) / together.sum((2, 3))[..., None]

    def __call__(self, noisy: NoisyBatch) -> torch.Tensor:
        first, second = (noisy.tokens_T.view(-1, 2) - 4).T
        logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
        found = self.posteriors(float(noisy.times_S[0]))[:, first, second].transpose(0, 1).flatten(0, 1)
        logits_TV[:, 4:24] = found.log().clamp(min=-1e4)
        return logits_TV

    def walked(self, num_steps: int) -> torch.Tensor:
        """What the chain ends in, carried along exactly: each residue jumps by itself, to its posterior."""
        now, stay = torch.full((20, 20), 1 / 400, dtype=torch.float64), torch.eye(20, dtype=torch.float64)
        for k in range(num_steps):
            here, there = self.kappa(k / num_steps), self.kappa((k + 1) / num_steps)
            jump, (first, second) = (there - here) / (1 - here), self.posteriors(k / num_steps)
            first = jump * first + (1 - jump) * stay[:, None]
            second = jump * second + (1 - jump) * stay[None]
            now = torch.einsum("xy,xya,xyb->ab", now, first, second)
        return now


@pytest.mark.parametrize("num_steps", [1, 4, 16, 64])
@pytest.mark.parametrize("schedule", KAPPA)
def test_uniform_source_walks_the_jump_process(pairs, num_steps, schedule):
    """Against the same chain, carried along exactly, which nears the pairs as the steps shrink."""
    model = NoisyPairs(pairs.joint, schedule)
    expected = model.walked(num_steps)[:4, :4]
    tokens_T, _ = sampler(num_steps, schedule, source="uniform").sample(bare_pack(12_000, 2), model, RNG)
    first, second = (tokens_T.view(-1, 2) - 4).T
    counts = (20 * first + second).bincount(minlength=400).view(20, 20).double()
    assert int(counts[:4, :4].sum()) == 12_000  # the last step draws every residue
    assert chi_square(counts[:4, :4], 12_000 * expected) < 37.7  # 15 degrees of freedom, p = 0.001
    assert total_variation(expected, pairs.joint) < 0.6 / num_steps


def context(noisy: NoisyBatch) -> torch.Tensor:
    """Logits that depend on every token of the protein: by a hash of its ids and places."""
    rng, tokens_T, place_T = KeyedRng(9, 0), noisy.tokens_T, noisy.clean.positions_T
    sums_S = torch.zeros_like(noisy.clean.stream_index_S).index_add(0, noisy.clean.sequence_T, (place_T + 1) * tokens_T)
    return 8 * rng.uniform(1, sums_S[noisy.clean.sequence_T][:, None], place_T[:, None], torch.arange(33))


@pytest.mark.parametrize("source", ["mask", "uniform"])
@pytest.mark.parametrize("depends_on_time", [False, True])
def test_a_protein_does_not_depend_on_what_it_is_sampled_with(source, depends_on_time):
    lengths, walk = [5, 30, 1, 17], sampler(7, source=source, depends_on_time=depends_on_time)
    together, _ = walk.sample(blank_pack(lengths, 100), context, RNG)
    again, _ = walk.sample(blank_pack(lengths, 100), context, RNG)
    assert torch.equal(together, again)
    for number, part in enumerate(together.split([length + 2 for length in lengths])):
        alone, _ = walk.sample(blank_pack(lengths[number : number + 1], 100 + number), context, RNG)
        assert torch.equal(alone, part)
    other, _ = walk.sample(blank_pack(lengths, 100), context, KeyedRng(seed=4, epoch=0))
    assert not torch.equal(together, other)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 9), st.sampled_from(["mask", "uniform"]),
    st.sampled_from([0.1, 1.0, 5.0]), st.integers(0, 1 << 30),
)  # fmt: skip
def test_output_is_canonical_residues_between_end_tokens(lengths, num_steps, source, temperature, seed):
    walk = sampler(num_steps, "cosine", source, depends_on_time=False, temperature=temperature)
    seen = []

    def denoiser(noisy: NoisyBatch) -> torch.Tensor:
        seen.append(noisy.tokens_T)
        likes_specials = torch.zeros(alphabet.SIZE, dtype=torch.float64)
        likes_specials[[0, 1, 2, 3, 24, 25, 28, 32]] = 1e4
        return context(noisy) + likes_specials

    tokens_T, num_evaluations = walk.sample(blank_pack(lengths), denoiser, KeyedRng(seed, 0))
    text = alphabet.decode(tokens_T.numpy())
    parts = [part.removeprefix("<cls>") for part in text.removesuffix("<eos>").split("<eos>")]
    assert [len(part) for part in parts] == lengths
    assert set("".join(parts)) <= set(alphabet.CANONICAL_LETTERS)
    assert num_evaluations == len(seen) <= num_steps
    if source == "mask":  # never asked twice about the same
        assert all(not torch.equal(one, other) for one, other in pairwise(seen))


def test_nothing_is_evaluated_where_nothing_is_revealed():
    asked = []

    def denoiser(noisy: NoisyBatch) -> torch.Tensor:
        asked.append(int((noisy.tokens_T == alphabet.MASK).sum()))
        return constant(noisy)

    _, num_evaluations = sampler(500).sample(blank_pack([3]), denoiser, RNG)
    assert num_evaluations == len(asked) == 3
    assert asked == [3, 2, 1]


@pytest.mark.parametrize("depends_on_time", [False, True])
def test_an_answer_is_kept_until_what_the_encoder_sees_has_changed(depends_on_time):
    """Two residues of the uniform source, drawn anew several times from an encoder that is certain of W."""
    certain_TV, asked = torch.full((2, alphabet.SIZE), -1e4, dtype=torch.float64), []
    certain_TV[..., alphabet.TOKENS.index("W")] = 0

    def denoiser(noisy: NoisyBatch) -> torch.Tensor:
        asked.append(alphabet.decode(noisy.tokens_T.numpy()))
        return certain_TV

    walk = sampler(100, source="uniform", depends_on_time=depends_on_time)
    tokens_T, num_evaluations = walk.sample(bare_pack(1, 2), denoiser, RNG)
    assert alphabet.decode(tokens_T.numpy()) == "WW"
    assert num_evaluations == len(asked)
    assert asked.count("WW") > 1 if depends_on_time else asked.count("WW") == 1


def test_visible_residues_and_specials_stay(pack_of):
    pack = pack_of("MKTXB", ends=True)
    fixed = replace(pack, scored_T=pack.scored_T & (pack.tokens_T != alphabet.encode("K")[0]))
    tokens_T, _ = sampler(4).sample(fixed, constant, RNG)
    assert torch.equal(tokens_T[~fixed.scored_T], pack.tokens_T[~fixed.scored_T])
    assert set(alphabet.decode(tokens_T[fixed.scored_T].numpy())) <= set("LAGV")


def test_temperature_sharpens():
    """p^(1/T), so that T = 1/2 squares the shares, and the entropy rises with T."""
    entropies = []
    for temperature, power in ((0.25, 4), (0.5, 2), (1.0, 1), (2.0, 0.5), (10.0, 0.1)):
        tokens_T, _ = sampler(2, temperature=temperature).sample(bare_pack(4000, 1), constant, RNG)
        counts = tokens_T.bincount(minlength=33)[4:8].double()
        expected = SHARES**power / (SHARES**power).sum()
        assert chi_square(counts, 4000 * expected) < 16.3
        found = counts / 4000
        entropies.append(-float(torch.xlogy(found, found).sum()))
    assert entropies == sorted(entropies)


def test_draw_at_the_edges():
    posterior_TV = torch.zeros(6, 20, dtype=torch.float64)
    posterior_TV[:, [3, 7, 18]] = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    uniform_T = torch.tensor([2.0**-53, 0.25 - 1e-12, 0.25 + 1e-12, 0.75 + 1e-12, 1 - 2.0**-53, 1], dtype=torch.float64)
    assert draw(posterior_TV, uniform_T).tolist() == [7, 7, 11, 22, 22, 22]  # residue i has id 4 + i


@given(st.lists(st.floats(0, 1), min_size=20, max_size=20).filter(any), st.integers(0, 1 << 52))
def test_draw_inverts_the_distribution_function(weights, cell):
    posterior = torch.tensor([weights], dtype=torch.float64)
    posterior /= posterior.sum()
    uniform = (min(cell, (1 << 52) - 1) + 0.5) / (1 << 52)
    chosen = int(draw(posterior, torch.tensor([uniform], dtype=torch.float64))) - 4
    assert 0 <= chosen < 20 and weights[chosen] > 0
    assert sum(posterior[0, :chosen].tolist()) <= uniform + 1e-14
    assert sum(posterior[0, : chosen + 1].tolist()) >= uniform - 1e-14
