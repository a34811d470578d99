import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron import config
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.any_order import AnyOrder
from d2plm_megatron.objectives.mlm import MaskedLanguageModel
from d2plm_megatron.objectives.process import FROM_MASKS
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

MLM = MaskedLanguageModel(config.MaskedLM())
RNG = KeyedRng(seed=5, epoch=2)
SIZE = 40_000

proteins = st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)


def within(count: int, share: float, number: int) -> bool:
    """Whether a count is within 4 standard deviations of a binomial's mean."""
    return abs(count - share * number) < 4 * math.sqrt(number * share * (1 - share))


@pytest.mark.parametrize("shares", [(0.15, 0.8, 0.1), (0.2, 0.5, 0.5), (1.0, 1.0, 0.0), (0.3, 0.0, 0.0)])
def test_shares(make_pack, shares):
    chosen_share, mask_fraction, random_fraction = shares
    pack = make_pack([SIZE])
    noisy = MaskedLanguageModel(config.MaskedLM(mask_probability=chosen_share, mask_fraction=mask_fraction,
                                                random_fraction=random_fraction)).corrupt(pack, RNG)  # fmt: skip
    chosen = int(noisy.predicted_T.sum())
    masks = noisy.tokens_T == alphabet.MASK
    others = (noisy.tokens_T != pack.tokens_T) & ~masks
    assert within(chosen, chosen_share, SIZE) or chosen == chosen_share * SIZE
    assert within(int(masks.sum()), mask_fraction, chosen) or int(masks.sum()) == mask_fraction * chosen
    changed_share = random_fraction * 19 / 20  # one in 20 random residues is the right one
    assert within(int(others.sum()), changed_share, chosen) or random_fraction == int(others.sum()) == 0
    assert not ((masks | others) & ~noisy.predicted_T).any()


def test_random_residues_are_the_canonical_20_equally_often(pack_of):
    options = config.MaskedLM(mask_probability=1.0, mask_fraction=0.0, random_fraction=1.0)
    counts = MaskedLanguageModel(options).corrupt(pack_of("W" * SIZE), RNG).tokens_T.bincount(minlength=33)
    assert int(counts[alphabet.CANONICAL].sum()) == SIZE
    expected = SIZE / 20
    assert float(((counts[alphabet.CANONICAL] - expected) ** 2 / expected).sum()) < 43.8  # 19 degrees, p = 0.001


def test_what_is_chosen_is_independent_of_what_becomes_of_it(make_pack):
    noisy = MLM.corrupt(make_pack([SIZE]), RNG)
    first, last = noisy.predicted_T.nonzero()[:, 0].chunk(2)
    for half in (first, last):
        assert within(int((noisy.tokens_T[half] == alphabet.MASK).sum()), 0.8, len(half))
    neighbours = noisy.predicted_T[1:] & noisy.predicted_T[:-1]
    assert within(int(neighbours.sum()), 0.15**2, SIZE - 1)


@settings(max_examples=50)
@given(proteins, st.integers(0, 1 << 30))
def test_only_canonical_residues_are_chosen(pack_of, sequences, seed):
    options = config.MaskedLM(mask_probability=1.0)
    pack = pack_of(*sequences, ends=True)
    noisy = MaskedLanguageModel(options).corrupt(pack, KeyedRng(seed, 0))
    letters = [alphabet.TOKENS[i] for i in pack.tokens_T.tolist()]
    assert noisy.predicted_T.tolist() == [letter in alphabet.CANONICAL_LETTERS for letter in letters]
    assert torch.equal(noisy.tokens_T[~noisy.predicted_T], pack.tokens_T[~noisy.predicted_T])
    allowed = {*alphabet.CANONICAL_LETTERS, "<mask>"}
    assert {alphabet.TOKENS[i] for i in noisy.tokens_T[noisy.predicted_T].tolist()} <= allowed


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_torchs_cross_entropy_over_all_33_letters(make_pack, seed):
    pack = make_pack([150, 250], seed=seed)
    noisy = MLM.corrupt(pack, KeyedRng(seed, 0))
    logits_TV = (torch.randn(400, 33, generator=torch.Generator().manual_seed(seed)) * 4).requires_grad_()
    chosen_T = noisy.predicted_T
    expected = torch.nn.functional.cross_entropy(logits_TV[chosen_T], pack.tokens_T[chosen_T])
    terms = MLM.loss(logits_TV, noisy)
    assert int(terms.count) == int(chosen_T.sum()) > 30
    torch.testing.assert_close((terms.total / terms.count).float(), expected, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(loss, logits_TV)[0] for loss in (terms.total / terms.count, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)
    assert terms.metrics["nll"] == (terms.total, terms.count)
    right = logits_TV[chosen_T].argmax(1) == pack.tokens_T[chosen_T]
    assert [int(value) for value in terms.metrics["accuracy"]] == [int(right.sum()), int(chosen_T.sum())]


def test_noise_of_a_protein_does_not_depend_on_its_neighbours(pack_of):
    sequences = ["MKTAYIAKQR" * 9, "LLLVVVAAA" * 9, "GSGSGSGSGSGS" * 9]
    together = MLM.corrupt(pack_of(*sequences), RNG).tokens_T.split([90, 81, 108])
    for number, sequence in enumerate(sequences):
        assert torch.equal(MLM.corrupt(pack_of(sequence, first_sample=number), RNG).tokens_T, together[number])


def test_time_is_0_and_likelihoods_are_the_masked_perplexity_and_the_bound(make_pack):
    assert MLM.corrupt(make_pack([5, 5]), RNG).times_S.tolist() == [0, 0]
    assert build(config.MaskedLM()) == MLM
    process = build_process(config.MaskedLM())
    assert process.path == FROM_MASKS
    assert list(process.likelihoods().items()) == [("masked", MLM), ("elbo", AnyOrder(FROM_MASKS.schedule))]
