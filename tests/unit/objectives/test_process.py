"""What evaluation and generation are given, beside what training is given."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.process import FROM_MASKS
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

FROM_MASKS_TO_PROTEINS = [config.Absorbing(schedule="cosine"), config.FlowMatching(schedule="cubic:0:2"),
                          config.MaskedLM()]  # fmt: skip


def test_elbo_of_random_residues_is_what_training_reports_of_the_same_noise(make_pack):
    """To the bit; and of a wrong guess it is more."""
    options = config.FlowMatching(source="uniform")
    pack, elbo = make_pack([40, 60]), build_process(options).likelihoods()["elbo"]
    logits_TV = torch.randn(100, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    noisy = elbo.corrupt(pack, KeyedRng(1, 0))
    trained = type(build(options))(elbo.path, *list(vars(build(options)).values())[1:])
    assert elbo.loss(logits_TV, noisy).metrics["nll"] == trained.loss(logits_TV, noisy).metrics["nll"]
    right_TV = 10.0 * torch.nn.functional.one_hot(pack.tokens_T, alphabet.SIZE)
    assert elbo.loss(right_TV, noisy).total < 0.1 * elbo.loss(logits_TV, noisy).total


@pytest.mark.parametrize("options", FROM_MASKS_TO_PROTEINS, ids=["absorbing", "mask", "mlm"])
def test_elbo_of_all_that_fill_masks_is_the_same(make_pack, options):
    """However they were trained, and whatever their schedule: of the same guesses, the same number to the bit."""
    pack, elbo = make_pack([40, 60]), build_process(options).likelihoods()["elbo"]
    reference = build_process(config.Absorbing()).likelihoods()["elbo"]
    logits_TV = torch.randn(100, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    noisy, same = elbo.corrupt(pack, KeyedRng(1, 0)), reference.corrupt(pack, KeyedRng(1, 0))
    assert torch.equal(noisy.tokens_T, same.tokens_T)
    assert elbo.loss(logits_TV, noisy).total == reference.loss(logits_TV, same).total


@pytest.mark.parametrize("options", [*FROM_MASKS_TO_PROTEINS, config.FlowMatching(source="uniform")])
def test_every_process_can_be_compared(options):
    assert "elbo" in build_process(options).likelihoods()


@dataclass(frozen=True, kw_only=True)
class Distilled(config.MaskedLM):
    """As an own objective: MLM, but with a teacher that only training may load."""

    name: str = config.option("distilled", "which objective this is", ("distilled",))

    def build(self):
        raise AssertionError("the teacher was loaded")


def test_nothing_that_training_needs_is_built_for_a_process():
    assert build_process(Distilled()).likelihoods().keys() == {"masked", "elbo"}
    with pytest.raises(AssertionError, match="the teacher was loaded"):
        build(Distilled())


def test_what_an_own_class_lacks_is_named():
    class Bare(config.Objective):
        pass

    class Empty(config.Objective):
        def build(self):
            return object()

        def build_process(self):
            return SimpleNamespace(path=FROM_MASKS, likelihoods=dict)

    with pytest.raises(ValueError, match=r"objective\.name=mine: its class Bare has no build_process\(\)"):
        build_process(Bare(name="mine"))
    with pytest.raises(ValueError, match=r"objective\.name=mine: what Empty\.build\(\) returns has no corrupt"):
        build(Empty(name="mine"))
    with pytest.raises(ValueError, match=r'objective\.name=mine: there is no "elbo" among the likelihoods'):
        build_process(Empty(name="mine"))


def test_a_loss_without_nll_is_refused():
    with pytest.raises(ValueError, match=r'LossTerms: metrics must hold "nll"'):
        LossTerms(total=torch.tensor(0.0), count=torch.tensor(1), metrics={})
