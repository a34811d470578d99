"""The bound over all orders: against enumeration, against the likelihood itself, and its spread."""

import math
from dataclasses import replace
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.objectives.any_order import AnyOrder
from d2plm_megatron.objectives.objective import canonical_log_posterior
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.process import NegativeELBO
from d2plm_megatron.objectives.schedules import Cosine, Polynomial
from d2plm_megatron.objectives.source import Mask
from d2plm_megatron.per_protein import counts_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

BOUND = AnyOrder(Polynomial())


def mean_over_sets(model, pack, masked) -> float:
    """The loss of one protein, averaged over n and over all sets of n of its residues."""
    length = len(pack.tokens_T)
    means = []
    for number in range(1, length + 1):
        losses = []
        for places in combinations(range(length), number):
            noisy = masked(pack, places, 1 - number / length)
            losses.append(float(BOUND.loss(model(noisy)[0], noisy).total))
        means.append(sum(losses) / len(losses))
    return sum(means) / length


def test_bound_of_the_exact_posterior_is_the_likelihood(pack_of, pairs, masked):
    for protein, share in zip(pairs.proteins(), pairs.joint.flatten().tolist(), strict=True):
        assert mean_over_sets(pairs, pack_of(protein), masked) == pytest.approx(-math.log(share), abs=1e-6)


@pytest.mark.parametrize("protein", ["GA", "GAV", "LLGA"])
def test_bound_of_any_model_is_the_mean_over_all_orders_of_writing(protein, pack_of, masked, arbitrary_model):
    """Residue after residue, in every order, each given those written before it."""
    pack, nats = pack_of(protein), []
    for order in permutations(range(len(protein))):
        for step, place in enumerate(order):
            posterior_TV = canonical_log_posterior(arbitrary_model(masked(pack, order[step:], 0.5))[0])
            nats.append(-float(posterior_TV[place, pack.tokens_T[place]]))
    expected = sum(nats) / math.factorial(len(protein))
    assert mean_over_sets(arbitrary_model, pack, masked) == pytest.approx(expected, abs=1e-5)


def test_without_context_every_draw_of_every_residue_alone_is_the_cross_entropy(pack_of):
    """A protein of one letter: any number of masks costs, times L / n, the same."""
    pack, logits_V = pack_of("K" * 50, "W" * 7, ends=True), torch.linspace(-2, 1, alphabet.SIZE)
    log_p_V = canonical_log_posterior(logits_V[None])[0].double()
    expected = -50 * float(log_p_V[alphabet.TOKENS.index("K")]) - 7 * float(log_p_V[alphabet.TOKENS.index("W")])
    for epoch in range(20):
        noisy = BOUND.corrupt(pack, KeyedRng(1, epoch))
        terms = BOUND.loss(logits_V.expand(61, -1), noisy)
        assert (float(terms.total), int(terms.count)) == (pytest.approx(expected, rel=1e-6), 57)


def test_corrupt_draws_every_set_at_its_chance(pack_of):
    """L = 3: n is 1, 2 or 3 at a third each, and so is each set of that size."""
    pack = pack_of(*["GAV"] * 6000)
    hidden_P3 = (BOUND.corrupt(pack, KeyedRng(3, 0)).tokens_T == alphabet.MASK).view(-1, 3)
    counts = (hidden_P3 * torch.tensor([1, 2, 4])).sum(1).bincount(minlength=8).double()
    assert counts[0] == 0 and counts[7] == pytest.approx(2000, abs=2)  # stratified
    for sets in ([1, 2, 4], [3, 5, 6]):
        assert counts[sets].sum() == pytest.approx(2000, abs=2)
        assert float(((counts[sets] - 2000 / 3) ** 2 / (2000 / 3)).sum()) < 13.8  # 2 degrees of freedom, p = 0.001


@settings(max_examples=30)
@given(st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6), st.integers(0, 99))
def test_masks_are_canonical_one_at_least_and_what_the_time_says(pack_of, sequences, seed):
    pack = pack_of(*sequences, ends=True)
    noisy = AnyOrder(Cosine()).corrupt(pack, KeyedRng(seed, 0))
    assert torch.equal(noisy.tokens_T == alphabet.MASK, noisy.predicted_T)
    assert not (noisy.predicted_T & ~pack.scored_T).any()
    masks_S, scored_S = counts_of(pack, noisy.predicted_T), counts_of(pack, pack.scored_T)
    assert ((masks_S >= 1) == (scored_S >= 1)).all() and (masks_S <= scored_S).all()
    has_any = scored_S > 0
    share_S = 1 - Cosine().kappa(noisy.times_S)
    assert torch.allclose(share_S[has_any], (masks_S / scored_S)[has_any], atol=1e-6)


def test_noise_of_a_protein_does_not_depend_on_its_neighbours_nor_on_the_schedule(pack_of):
    sequences = ["MKTAYIAKQR", "LLLVVVAAA", "XX", "WY"]
    rng = KeyedRng(5, 2)
    together = BOUND.corrupt(pack_of(*sequences), rng).tokens_T.split([len(sequence) for sequence in sequences])
    for number, sequence in enumerate(sequences):
        alone = pack_of(sequence, first_sample=number)
        assert torch.equal(AnyOrder(Cosine()).corrupt(alone, rng).tokens_T, together[number])


def test_context_that_is_not_scored_is_seen_and_tells_the_time(pack_of):
    """As in a window: of 8 residues 4 are scored, so that at most half of what stands there is masked."""
    pack = pack_of("MKTAYIAK", ends=True)
    pack = replace(pack, scored_T=pack.scored_T & (pack.positions_T > 4))
    for epoch in range(10):
        noisy = BOUND.corrupt(pack, KeyedRng(0, epoch))
        number = int(noisy.predicted_T.sum())
        assert 1 <= number <= 4 and not noisy.predicted_T[:5].any()
        assert float(noisy.times_S) == pytest.approx(1 - number / 8)
        assert int(BOUND.loss(torch.zeros(10, alphabet.SIZE), noisy).count) == 4


def test_spreads_far_less_than_times_and_coins(make_pack):
    """The same mean as along the path, whose weight 1 / t counts the masks that were expected."""
    pack, logits_V = make_pack([80] * 12), torch.linspace(-1, 1, alphabet.SIZE)
    along = NegativeELBO(MixturePath(Polynomial(), Mask(), 1e-3).for_likelihood())
    found = {}
    for name, objective in (("orders", BOUND), ("path", along)):
        draws = []
        for epoch in range(24):
            noisy = objective.corrupt(pack, KeyedRng(7, epoch))
            terms = objective.loss(logits_V.expand(960, -1), noisy)
            draws.append(float(terms.total) / int(terms.count))
        found[name] = torch.tensor(draws, dtype=torch.float64)
    error = float(found["path"].std()) / math.sqrt(24)
    assert float(found["orders"].mean()) == pytest.approx(float(found["path"].mean()), abs=4 * error)
    assert float(found["orders"].std()) < 0.4 * float(found["path"].std())
