"""What x_t says by itself, against what the path makes of residues, and where it enters."""

from dataclasses import replace

import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.evidence import TRUSTED, apart, log_posterior
from d2plm_megatron.objectives.metric_path import MetricPath
from d2plm_megatron.objectives.objective import canonical_log_posterior
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Odds, Polynomial
from d2plm_megatron.objectives.source import Mask, Uniform
from d2plm_megatron.proteins import alphabet, distances
from d2plm_megatron.rng import KeyedRng

PATHS = [
    MixturePath(Polynomial(2), Uniform(), 1e-3, by_bayes=True),
    MetricPath(Odds(3, 0.9), distances.to_power(distances.blosum62(), 1.0), 1e-3, by_bayes=True),
]
IDS = ["random residues", "metric path"]
LETTERS = alphabet.CANONICAL_LETTERS


def shown(pack, path, t: float) -> NoisyBatch:
    times_S = torch.full(pack.stream_index_S.shape, t, dtype=torch.float64)
    tokens_T = path.sample(pack, times_S, KeyedRng(1, 0))
    return NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=path.candidates(tokens_T, pack))


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("t", [0.0, 0.3, 0.7])
def test_evidence_is_the_chance_of_what_the_path_makes(path, t, pack_of):
    """Chi-square over the residues that L, W and K become, 4,000 of each."""
    noisy = shown(pack_of("L" * 4000, "W" * 4000, "K" * 4000), path, t)
    chances_TV = path.log_evidence(noisy).exp()
    for letter, tokens in zip("LWK", noisy.tokens_T.split(4000), strict=True):
        counts = (tokens - 4).bincount(minlength=20).double()
        expected = torch.full((20,), 0.0, dtype=torch.float64)
        expected[noisy.tokens_T - 4] = chances_TV[:, LETTERS.index(letter)]  # of each x_t, whatever it came from
        assert expected.sum() == pytest.approx(1, abs=1e-3)
        common = expected > 5 / 4000
        assert float(((counts - 4000 * expected)[common] ** 2 / (4000 * expected[common])).sum()) < 43.8  # 19 degrees


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_of_what_is_no_residue_nothing_is_said(path, pack_of):
    noisy = shown(pack_of("LX", ends=True), path, 0.5)
    assert (path.log_evidence(noisy)[[0, 2, 3]] == 0).all()
    masks = replace(path, source=Mask()) if isinstance(path, MixturePath) else path
    assert path is masks or (masks.log_evidence(noisy) == 0).all()


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("t", [0.0, 0.4, 0.9, 1.0])
def test_of_an_encoder_that_knows_nothing_the_posterior_is_what_the_residue_says(path, t, pack_of):
    noisy = shown(pack_of("LAGVMKTW" * 20), path, t)
    found_TV = log_posterior(path, torch.zeros(160, alphabet.SIZE), noisy)
    expected_TV = path.log_evidence(noisy).log_softmax(-1).float()
    torch.testing.assert_close(found_TV[:, 4:24], expected_TV, rtol=1e-5, atol=1e-5)
    assert (found_TV[:, [0, 3, 24, 32]] == -torch.inf).all()
    direct = replace(path, by_bayes=False)
    torch.testing.assert_close(
        log_posterior(direct, found_TV, noisy), canonical_log_posterior(found_TV), rtol=0, atol=0
    )


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("t", [0.1, 0.6])
def test_parts_are_the_same_whoever_put_them_together(path, t, pack_of):
    """An encoder that writes the product, and one that writes the first factor."""
    noisy = shown(pack_of("LAGVMKTW" * 20), path, t)
    rest_TV = torch.randn(160, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    product_TV = rest_TV + path.log_evidence(noisy)
    trusted = (path.log_evidence(noisy).amax(-1, keepdim=True) - path.log_evidence(noisy)) < TRUSTED
    for one, other in ((path, rest_TV), (replace(path, by_bayes=False), product_TV)):
        found_TV, evidence_TV = apart(one, other, noisy)
        gap_TV = (found_TV - rest_TV) - (found_TV - rest_TV).gather(-1, (noisy.tokens_T - 4)[:, None])
        assert gap_TV[trusted].abs().max() < 1e-9
        torch.testing.assert_close((found_TV + evidence_TV).softmax(-1), product_TV.softmax(-1))


@pytest.mark.parametrize(
    "options", [config.FlowMatching(source="uniform", posterior="bayes"), config.MetricFlow(posterior="bayes")]
)
def test_loss_and_likelihood_read_the_same_posterior(options, make_pack):
    """Of logits without and with the evidence in them, to rounding."""
    pack, both = make_pack([5] * 60), (options, replace(options, posterior="direct"))
    trained, reported = zip(*((build(each), build_process(each).likelihoods()["elbo"]) for each in both), strict=True)
    logits_TV = torch.randn(300, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    for one, another in (trained, reported):
        noisy = one.corrupt(pack, KeyedRng(1, 0))
        with_evidence_TV = logits_TV.clone()
        with_evidence_TV[:, 4:24] += one.path.log_evidence(noisy).float()
        found, expected = one.loss(logits_TV, noisy), another.loss(with_evidence_TV, noisy)
        torch.testing.assert_close(found.total, expected.total, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.metrics["nll"][0], expected.metrics["nll"][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3, 0.05])
def test_at_the_time_of_a_share_so_many_residues_are_noise(path, share, pack_of):
    """Of all 20 residues alike 19 of 20 that are noise differ; this is what `--strength` goes by."""
    pack, t = pack_of(LETTERS * 1500), path.time_of_share(share)
    differ = float((shown(pack, path, t).tokens_T != pack.tokens_T).double().mean())
    assert differ == pytest.approx(share * 19 / 20, abs=4 * (0.25 / 30_000) ** 0.5)
    assert float(path.share_of_noise(torch.tensor(t, dtype=torch.float64))) == pytest.approx(share, abs=1e-9)


def test_masks_take_no_evidence():
    with pytest.raises(ValueError, match=r"^objective\.posterior=bayes: a mask says nothing of what it was"):
        config.FlowMatching(posterior="bayes")
    with pytest.raises(ValueError, match=r"^objective\.posterior=baes: allowed are direct, bayes; did you mean bayes"):
        config.MetricFlow(posterior="baes")
