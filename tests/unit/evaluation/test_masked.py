"""Masked perplexity at 15%: what is chosen, what is shown, and over which letters the cross-entropy is."""

import math

import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.evaluation.masked import ALL_MASKED_NAME, AS_PUBLISHED_NAME, masked_perplexity
from d2plm_megatron.objectives import build_process
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

TWENTY = config.MaskedLM(mask_probability=0.2)
NEVER_RANDOM = config.MaskedLM(mask_fraction=1.0, random_fraction=0.0)
SQUARED = config.FlowMatching(schedule="polynomial:2")


def measure_of(options):
    return dict(masked_perplexity(options, build_process(options).path))


@pytest.mark.parametrize(
    ("options", "names"),
    [(config.Absorbing(), [ALL_MASKED_NAME]), (SQUARED, [ALL_MASKED_NAME]), (NEVER_RANDOM, [ALL_MASKED_NAME]),
     (TWENTY, [AS_PUBLISHED_NAME]), (config.FlowMatching(source="uniform"), [])],
)  # fmt: skip
def test_the_name_says_which_of_the_two_it_is(options, names):
    assert list(measure_of(options)) == names


def test_fifteen_of_a_hundred_are_chosen_and_shown_as_the_model_has_learnt(make_pack):
    pack = make_pack([40_000])
    for options, masks, times in ((SQUARED, 1.0, math.sqrt(0.85)), (TWENTY, 0.8, 0.0)):
        [measure] = measure_of(options).values()
        noisy = measure.corrupt(pack, KeyedRng(0, 0))
        assert noisy.times_S.tolist() == pytest.approx([times])
        assert float(noisy.predicted_T.double().mean()) == pytest.approx(0.15, abs=0.006)
        hidden_T = noisy.tokens_T[noisy.predicted_T]
        assert float((hidden_T == alphabet.MASK).double().mean()) == pytest.approx(masks, abs=0.015)
        assert torch.equal(noisy.tokens_T[~noisy.predicted_T], pack.tokens_T[~noisy.predicted_T])


def test_cross_entropy_is_of_the_chosen_among_the_letters_that_the_model_was_trained_on(make_pack):
    """A model that holds everything alike: 20 letters for a model of masks, and 33 tokens as ESM-2 reports it."""
    pack, logits_TV = make_pack([4000]), torch.zeros(4000, alphabet.SIZE)
    for options, expected in ((config.Absorbing(), 20), (TWENTY, 33)):
        [measure] = measure_of(options).values()
        noisy = measure.corrupt(pack, KeyedRng(0, 0))
        nats, number = measure.loss(logits_TV, noisy).metrics["nll"]
        assert int(number) == int(noisy.predicted_T.sum())
        assert math.exp(nats / number) == pytest.approx(expected, rel=1e-5)
