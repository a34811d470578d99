import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from d2plm_megatron import config
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.metric_flow import MetricFlow
from d2plm_megatron.objectives.metric_path import MetricPath, ends_nll
from d2plm_megatron.objectives.process import NegativeELBO, PathProcess
from d2plm_megatron.objectives.schedules import Odds
from d2plm_megatron.proteins import alphabet, distances
from d2plm_megatron.rng import KeyedRng

SHARES = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def objective(loss: str = "cross_entropy", **options) -> MetricFlow:
    return MetricFlow.of(config.MetricFlow(loss=loss, **options))


def logits_of(belief_TV: Tensor) -> Tensor:
    logits_TV = torch.full((len(belief_TV), alphabet.SIZE), -1e4)
    logits_TV[:, alphabet.CANONICAL] = belief_TV.clamp(min=1e-300).log().clamp(min=-1e4).float()
    return logits_TV


def context_free(path: MetricPath, noisy: NoisyBatch) -> Tensor:
    """The exact posterior where residues are drawn by themselves, by the shares of L, A, G and V."""
    table = torch.tensor(path.distance, dtype=torch.float64)
    chances_TVV = torch.softmax(-path.beta(noisy.times_T)[:, None, None] * table, -1)
    seen_TV = chances_TVV[torch.arange(len(noisy.tokens_T)), :, noisy.tokens_T - 4]
    return logits_of(seen_TV * torch.cat([SHARES, torch.zeros(16, dtype=torch.float64)]))


@pytest.mark.parametrize("loss", ["cross_entropy", "elbo"])
def test_a_context_free_model_costs_the_entropy_of_its_residues(pack_of, loss: str) -> None:
    """As drawn in training, and as reported."""
    proteins, trained = ["LLLLAAAGGV"] * 100, objective(loss)
    entropy = -float((SHARES * SHARES.log()).sum())
    for measure in (trained, NegativeELBO(trained.path.for_likelihood())):
        found = []
        for epoch in range(24):
            noisy = measure.corrupt(pack_of(*proteins), KeyedRng(1, epoch))
            nats, count = measure.loss(context_free(measure.path, noisy), noisy).metrics["nll"]
            found.append(float(nats) / int(count))
        error = float(torch.tensor(found).std()) / math.sqrt(24)
        assert error < 0.06
        assert sum(found) / 24 == pytest.approx(entropy, abs=4 * error + 1e-3)


@pytest.mark.parametrize("loss", ["cross_entropy", "elbo"])
@pytest.mark.parametrize("t", [1e-12, 0.5, 0.9, 1 - 1e-3])
def test_gradients_are_finite_and_only_where_they_should_be(pack_of, loss: str, t: float) -> None:
    pack, sure = pack_of("BLAGVMKTAYX" * 20, ends=True), objective(loss)
    times_S = torch.full(pack.stream_index_S.shape, t, dtype=torch.float64)
    noisy = NoisyBatch(
        clean=pack,
        tokens_T=sure.path.sample(pack, times_S, KeyedRng(0, 0)),
        times_S=times_S,
        predicted_T=pack.scored_T,
    )
    logits_TV = torch.randn(len(pack.tokens_T), alphabet.SIZE, generator=torch.Generator().manual_seed(0)) * 20
    logits_TV.requires_grad_()
    terms = sure.loss(logits_TV, noisy)
    terms.total.backward()
    assert torch.isfinite(logits_TV.grad).all() and torch.isfinite(terms.metrics["nll"][0])
    others = [i for i in range(alphabet.SIZE) if not 4 <= i < 24]
    assert (logits_TV.grad[:, others] == 0).all() and (logits_TV.grad[~pack.scored_T] == 0).all()
    is_asked = loss == "cross_entropy" or t not in (1e-12, 1 - 1e-3)
    assert bool((logits_TV.grad != 0).any()) == is_asked


@pytest.mark.parametrize("loss", ["cross_entropy", "elbo"])
def test_special_tokens_and_residues_that_are_not_scored_add_nothing(pack_of, loss: str) -> None:
    """And a protein is worth the same by itself as in a pack that is looked at part by part."""
    letters = "B" + "LAGVMKTAYW" * 30 + "X"
    pack, sure = pack_of("MKT" * 40, letters, ends=True), objective(loss)
    noisy = sure.corrupt(pack, KeyedRng(4, 0))
    logits_TV = torch.randn(len(pack.tokens_T), alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    terms, parts = sure.loss(logits_TV, noisy), []
    for number, (protein, inside) in enumerate([("MKT" * 40, slice(1, 121)), (letters[1:-1], slice(124, 424))]):
        bare = NoisyBatch(
            clean=pack_of(protein),
            tokens_T=noisy.tokens_T[inside],
            times_S=noisy.times_S[number : number + 1],
            predicted_T=noisy.predicted_T[inside],
        )
        parts.append(sure.loss(logits_TV[inside], bare))
    torch.testing.assert_close(terms.total, parts[0].total + parts[1].total, rtol=1e-10, atol=0)
    assert terms.count == parts[0].count + parts[1].count == 420
    for name, (total, count) in terms.metrics.items():
        torch.testing.assert_close(total, parts[0].metrics[name][0] + parts[1].metrics[name][0], rtol=1e-10, atol=0)
        assert count == 420


def test_nats_are_the_bound_whatever_the_loss(make_pack) -> None:
    pack, logits_TV = make_pack([50]), torch.randn(50, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    elbo = objective("elbo")
    noisy = elbo.corrupt(pack, KeyedRng(0, 0))
    terms = elbo.loss(logits_TV, noisy)
    ends = torch.tensor(ends_nll(elbo.path), dtype=torch.float64)[pack.tokens_T - 4].sum()
    assert terms.metrics["nll"][0] == pytest.approx(float(terms.total + ends), rel=1e-12)
    other = replace(elbo, cross_entropy=True).loss(logits_TV, noisy)
    assert other.metrics["nll"] == terms.metrics["nll"]
    expected = torch.nn.functional.cross_entropy(logits_TV[:, 4:24], pack.tokens_T - 4, reduction="sum")
    torch.testing.assert_close(other.total.float(), expected, rtol=1e-5, atol=0)


def test_as_the_recipe_says() -> None:
    options = config.MetricFlow(power=2.0, loss="elbo", schedule="odds:2:1.5", time_epsilon=0.01)
    table = distances.to_power(distances.blosum62(), 2.0)
    assert build(options) == MetricFlow(MetricPath(Odds(2, 1.5), table, 0.01, even_in_information=True), False)
    assert build_process(options) == PathProcess(build(options).path)
    assert not build_process(options).path.has_masks
