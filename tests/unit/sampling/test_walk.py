"""What holds for every sampler."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.proteins import alphabet

MASKS = [
    ["sampler=exact"], ["sampler=euler"], ["sampler=confidence"], ["sampler=margin", "sampler.noise=0.5"],
    ["sampler=entropy", "sampler.grid=kappa"], ["sampler=p2"], ["sampler=p2", "sampler.eta=0"],
    ["sampler=remdm"], ["sampler=remdm", "sampler.strategy=rescale", "sampler.eta=0.3"],
    ["sampler=remdm", "sampler.strategy=confidence", "sampler.eta=0.3"], ["sampler=corrector"],
    ["sampler=adaptive", "sampler.bound=2"], ["sampler=adaptive", "sampler.criterion=confidence", "sampler.bound=0.8"],
]  # fmt: skip
RESIDUES = [["sampler=exact"], ["sampler=bridge"], ["sampler=euler"], ["sampler=corrector"]]
EVERY = [("mask", overrides) for overrides in MASKS] + [("uniform", overrides) for overrides in RESIDUES]
IDS = [f"{source} {' '.join(overrides)}" for source, overrides in EVERY]
every = pytest.mark.parametrize(("source", "overrides"), EVERY, ids=IDS)
REVEALS_ONLY = {"exact", "euler", "confidence", "margin", "entropy", "adaptive"}
"""With masks, these never change what they have filled."""


@every
@pytest.mark.parametrize("conditioned", [False, True])
def test_a_protein_does_not_depend_on_what_it_is_sampled_with(
    source, overrides, conditioned, walks, blank_pack, context
):
    lengths = [5, 30, 1, 17]
    together, _ = walks(blank_pack(lengths, 100), context, 7, *overrides, source=source, conditioned=conditioned)
    again, _ = walks(blank_pack(lengths, 100), context, 7, *overrides, source=source, conditioned=conditioned)
    assert torch.equal(together, again)
    for number, part in enumerate(together.split([length + 2 for length in lengths])):
        pack = blank_pack(lengths[number : number + 1], 100 + number)
        alone, _ = walks(pack, context, 7, *overrides, source=source, conditioned=conditioned)
        assert torch.equal(alone, part)
    other, _ = replace(walks, seed=4)(
        blank_pack(lengths, 100), context, 7, *overrides, source=source, conditioned=conditioned
    )
    assert not torch.equal(together, other)


@settings(max_examples=100)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 9), st.sampled_from(EVERY),
    st.sampled_from([0.1, 1.0, 5.0]), st.integers(0, 1 << 30),
)  # fmt: skip
def test_output_is_canonical_residues_between_end_tokens(
    walks, blank_pack, context, lengths, num_steps, sampler, temperature, seed
):
    (source, overrides), asked = sampler, []

    def denoiser(noisy: NoisyBatch) -> Tensor:
        asked.append(noisy)
        likes_specials = torch.zeros(alphabet.SIZE, dtype=torch.float64)
        likes_specials[[0, 1, 2, 3, 24, 25, 28, 32]] = 1e4
        return context(noisy) + likes_specials

    tokens_T, evaluations = replace(walks, seed=seed)(
        blank_pack(lengths), denoiser, num_steps, *overrides, schedule="cosine", source=source,
        temperature=temperature, conditioned=False,
    )  # fmt: skip
    text = alphabet.decode(tokens_T.numpy())
    parts = [part.removeprefix("<cls>") for part in text.removesuffix("<eos>").split("<eos>")]
    assert [len(part) for part in parts] == lengths
    assert set("".join(parts)) <= set(alphabet.CANONICAL_LETTERS)
    assert evaluations == sum(len(noisy.clean.lengths_S) for noisy in asked) / len(lengths) <= num_steps
    for number in range(len(lengths)):  # never asked twice in a row about the same
        seen = [row for noisy in asked if (row := _protein(noisy, number)) is not None]
        assert all(not torch.equal(one, other) for one, other in pairwise(seen))


def _protein(noisy: NoisyBatch, number: int) -> Tensor | None:
    """x_t of the protein with this sample id; None where it was not asked about."""
    where_S = noisy.clean.sample_ids_S == number
    return noisy.tokens_T[where_S[noisy.clean.sequence_T]] if where_S.any() else None


@every
def test_what_is_given_stays_and_what_is_filled_stays_filled(source, overrides, walks, context, pack_of):
    pack, seen = pack_of("MKTXBLLLLAAAGGVVWWYY", "AC", ends=True), []
    given_T = pack.tokens_T == alphabet.encode("L")[0]
    fixed = replace(pack, scored_T=pack.scored_T & ~given_T)

    def denoiser(noisy: NoisyBatch) -> Tensor:
        seen.append(noisy.tokens_T)
        return context(noisy)

    tokens_T, _ = walks(fixed, denoiser, 6, *overrides, source=source)
    for step_T in [x for x in seen if len(x) == len(tokens_T)] + [tokens_T]:
        assert torch.equal(step_T[~fixed.scored_T], pack.tokens_T[~fixed.scored_T])
    if source == "mask" and overrides[0].partition("=")[2] in REVEALS_ONLY:
        for one, other in pairwise([x for x in seen if len(x) == len(tokens_T)] + [tokens_T]):
            assert torch.equal(one[one != alphabet.MASK], other[one != alphabet.MASK])


@pytest.mark.parametrize("overrides", MASKS, ids=" ".join)
@pytest.mark.parametrize("begin", [0.0, 0.4])
def test_masks_tell_the_time_whatever_the_template(overrides, begin, walks, context, pack_of):
    """That at which a model was trained on as many: given residues count, X does not, and the walk's grid is not it."""
    pack, seen = pack_of("L" * 90 + "M" * 10 + "X" * 50, "M" * 20, ends=True), []
    fixed = replace(pack, scored_T=pack.scored_T & (pack.tokens_T == alphabet.encode("M")[0]))

    def denoiser(noisy: NoisyBatch) -> Tensor:
        seen.append(noisy)
        return context(noisy)

    walks(fixed, denoiser, 6, *overrides, schedule="polynomial:2", conditioned=True, begin=begin)
    for noisy in seen:
        for number, time in zip(noisy.clean.sample_ids_S.tolist(), noisy.times_S.tolist(), strict=True):
            masks = int((_protein(noisy, number) == alphabet.MASK).sum())
            assert time == pytest.approx((1 - masks / (100, 20)[number]) ** 0.5)


@every
def test_only_what_is_allowed_is_written(source, overrides, walks, blank_pack, context):
    pack = blank_pack([40, 7])
    allowed_TV = torch.rand(len(pack.tokens_T), 20, generator=torch.Generator().manual_seed(1)) < 0.15
    allowed_TV[torch.arange(len(allowed_TV)), torch.arange(len(allowed_TV)) % 20] = True
    tokens_T, _ = walks(pack, context, 5, *overrides, source=source, allowed_TV=allowed_TV)
    chosen_TV = torch.nn.functional.one_hot((tokens_T - 4).clamp(0, 19), 20).bool()
    assert (chosen_TV & allowed_TV).any(-1)[pack.scored_T].all()
    only_W = torch.zeros(len(pack.tokens_T), alphabet.SIZE, dtype=torch.bool)
    only_W[:, alphabet.TOKENS.index("W")] = True
    tokens_T, _ = walks(pack, context, 5, *overrides, source=source, allowed_TV=only_W)
    assert set(tokens_T[pack.scored_T].tolist()) == {alphabet.TOKENS.index("W")}


def test_the_posterior_is_renormalised_over_what_is_allowed(walks, bare_pack, constant):
    allowed_TV = torch.zeros(6000, 20, dtype=torch.bool)
    allowed_TV[:, [1, 3, 9]] = True
    tokens_T, _ = walks(bare_pack(6000, 1), constant, 3, allowed_TV=allowed_TV)
    counts = tokens_T.bincount(minlength=33)[4:24].double()
    assert counts[[1, 3]].sum() == 6000
    assert float(counts[1] / 6000) == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 6000) ** 0.5)


def test_nothing_allowed_is_refused(walks, blank_pack, constant):
    pack = blank_pack([3, 4], 10)
    allowed_TV = torch.ones(len(pack.tokens_T), 20, dtype=torch.bool)
    allowed_TV[0] = False  # an end token, which stays
    walks(pack, constant, 2, allowed_TV=allowed_TV)
    allowed_TV[7] = False
    with pytest.raises(
        ValueError, match=r"^allowed: no residue is left for token 2 of protein 11; allow at least one$"
    ):
        walks(pack, constant, 2, allowed_TV=allowed_TV)


@every
@pytest.mark.parametrize("begin", [0.25, 0.9])
def test_a_walk_may_begin_with_a_given_protein(source, overrides, begin, walks, pack_of, context):
    """It is asked first about what the path makes of it; the share that stays lies near kappa, with masks at least."""
    pack, seen = pack_of("L" * 3000, ends=True), []

    def denoiser(noisy: NoisyBatch) -> Tensor:
        seen.append((float(noisy.times_S[0]), noisy.tokens_T))
        return context(noisy)

    tokens_T, _ = walks(pack, denoiser, 4, *overrides, source=source, begin=begin)
    t, first_T = seen[0]
    shown = float((first_T == 4).double().mean())
    expected = begin if source == "mask" else begin + (1 - begin) / 20
    assert t == pytest.approx(begin, abs=0.03) and shown == pytest.approx(expected, abs=0.04)
    stayed = float((tokens_T == 4).double().mean())
    if source == "mask" and overrides[0].partition("=")[2] in REVEALS_ONLY:
        assert stayed >= shown
    assert set(tokens_T[1:-1].tolist()) <= set(range(4, 24))


@pytest.mark.parametrize("begin", [-0.1, 1.0, float("nan")])
def test_a_walk_begins_before_its_end(begin, walks, blank_pack, constant):
    with pytest.raises(ValueError, match=r"^begin="):
        walks(blank_pack([3]), constant, 2, begin=begin)


def test_masks_take_the_place_of_what_is_not_allowed_to_stay(walks, pack_of, context):
    pack = pack_of("L" * 50, ends=True)
    allowed_TV = torch.ones(len(pack.tokens_T), 20, dtype=torch.bool)
    allowed_TV[:, 0] = False
    tokens_T, _ = walks(pack, context, 4, allowed_TV=allowed_TV, begin=0.9)
    assert 4 not in tokens_T.tolist()


def test_nothing_is_evaluated_where_nothing_is_revealed(walks, blank_pack, constant):
    """Of each protein: one of three residues is asked about three times, whatever the other does meanwhile."""
    asked: list[list[int]] = [[], []]

    def denoiser(noisy: NoisyBatch) -> Tensor:
        for number in range(2):
            if (tokens := _protein(noisy, number)) is not None:
                asked[number].append(int((tokens == alphabet.MASK).sum()))
        return constant(noisy)

    _, evaluations = walks(blank_pack([3, 5]), denoiser, 2000)
    assert asked == [[3, 2, 1], [5, 4, 3, 2, 1]]
    assert evaluations == 4


@pytest.mark.parametrize("conditioned", [False, True])
def test_an_answer_is_kept_until_what_the_encoder_sees_has_changed(conditioned, walks, bare_pack):
    """Two residues of the uniform source, drawn anew several times from an encoder that is certain of W."""
    certain_TV, asked = torch.full((2, alphabet.SIZE), -1e4, dtype=torch.float64), []
    certain_TV[..., alphabet.TOKENS.index("W")] = 0

    def denoiser(noisy: NoisyBatch) -> Tensor:
        asked.append(alphabet.decode(noisy.tokens_T.numpy()))
        return certain_TV

    sampler = ["sampler=exact"]
    tokens_T, evaluations = walks(bare_pack(1, 2), denoiser, 100, *sampler, source="uniform", conditioned=conditioned)
    assert alphabet.decode(tokens_T.numpy()) == "WW"
    assert evaluations == len(asked)
    assert asked.count("WW") > 1 if conditioned else asked.count("WW") == 1


@pytest.mark.parametrize("overrides", [[], *MASKS], ids=lambda overrides: " ".join(overrides))
def test_samplers_that_need_masks_say_which_do_not(overrides, walks, blank_pack, context):
    name = overrides[0].partition("=")[2] if overrides else "auto"
    fitting = {"auto"} | {other.partition("=")[2] for [other] in RESIDUES}
    call: Callable[[TokenBatch], object] = lambda pack: walks(pack, context, 3, *overrides, source="uniform")  # noqa: E731
    if name in fitting:
        call(blank_pack([4]))
        return
    with pytest.raises(ValueError) as error:
        call(blank_pack([4]))
    assert str(error.value) == (
        f"sampler={name}: does not fit a model that starts from random residues; take exact, bridge, euler, corrector"
    )


@every
@pytest.mark.parametrize("schedule", ["odds:1:10", "polynomial:100", "polynomial:0.01"])
def test_schedules_that_round_to_their_ends_are_walked_like_others(
    source, overrides, schedule, walks, bare_pack, constant
):
    """kappa is 0 or 1 to float64 at many times of the grid; the residues are drawn from what the model says."""
    if overrides == ["sampler=euler"]:
        return  # which needs rates, and says that they are infinite
    tokens_T, _ = walks(bare_pack(400, 1), constant, 64, *overrides, source=source, schedule=schedule)
    shares = tokens_T.bincount(minlength=33)[4:8].double() / 400
    assert shares.sum() == 1
    if overrides[0].partition("=")[2] != "p2":  # which looks for likely ones
        assert (shares - torch.tensor([0.4, 0.3, 0.2, 0.1])).abs().max() < 4 * (0.24 / 400) ** 0.5


def test_what_is_no_number_is_drawn_from_by_nobody(walks, blank_pack, context):
    """And not taken for the last letter."""

    def broken(noisy: NoisyBatch) -> Tensor:
        return context(noisy).index_fill(0, torch.tensor([2]), float("nan"))

    for source in ("mask", "uniform"):
        with pytest.raises(ValueError, match=r"^the model's probabilities at 1 of 9 tokens are no numbers: look at"):
            walks(blank_pack([7]), broken, 3, source=source)


def test_the_bridge_is_for_random_residues(walks, blank_pack, context):
    with pytest.raises(ValueError, match=r"^sampler=bridge: does not fit a model that starts from masks; take exact, "):
        walks(blank_pack([4]), context, 3, "sampler=bridge")
