import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron import config
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.absorbing import AbsorbingDiffusion
from d2plm_megatron.objectives.flow_matching import FlowMatching, generalised_kl
from d2plm_megatron.objectives.objective import canonical_log_posterior, log_probability
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.process import PathProcess
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

CONFORMANCE = Path(__file__).with_name("discrete_flow_matching.json")
SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of the letters L, A, G and V in a distribution over proteins of one residue."""

proteins = st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)


def flow_matching(
    source: str = "mask", loss: str = "generalised_kl", schedule: str = "linear", e: float = 0.0
) -> FlowMatching:
    return FlowMatching(MixturePath(build_schedule(schedule), SOURCES[source], e), loss == "cross_entropy")


def double(values) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def test_generalised_kl_by_hand():
    """Alphabet of two letters and a mask, p = (1/4, 3/4), rate 2."""
    log_posterior = double([0.25, 0.75, 0.0]).log().expand(5, 3)
    x1, xt = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0, 1, 1, 0, 2])
    expected = [
        2 * (1 - 1 / 4),  # kept: the chance to leave what is right
        2 * (1 - 3 / 4),
        2 * (math.log(4) - 3 / 4),
        2 * (math.log(4 / 3) - 1 / 4),
        2 * math.log(4),  # masked
    ]
    assert generalised_kl(log_posterior, x1, xt, double([2.0])).tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", ["n1.0_mask", "n1.0_uniform", "n2.0_mask"])
def test_generalised_kl_conforms_to_an_independent_implementation(name):
    values = json.loads(CONFORMANCE.read_text())
    inputs, (power, source) = values["gkl_inputs"], name.split("_")
    b, i, v = torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(6), indexing="ij")
    log_posterior = (((7 * b + 3 * i + 5 * v) % 11).double() / 3 - 1.5).log_softmax(-1)
    x1, xt = torch.tensor(inputs["x1"]), torch.tensor(inputs[f"xt_{source}"])
    path = MixturePath(build_schedule(f"polynomial:{power[1:]}"), SOURCES[source], time_epsilon=0.0)
    rates = path.rate(double(inputs["t"]))[:, None]
    loss = generalised_kl(log_posterior, x1, xt, rates)
    torch.testing.assert_close(loss, double(values[f"gkl_{name}"]), rtol=0, atol=1e-9)
    assert loss.mean().item() == pytest.approx(values[f"gkl_{name}_mean"], abs=1e-9)
    for where, expected in ((x1 >= 0, "ce_all_positions_mean"), (xt == inputs["mask_id"], "ce_masked_only_mean")):
        if source == "mask":
            nats = -log_probability(log_posterior.flatten(0, 1), x1.flatten(), where.flatten())
            assert float(nats.sum() / where.sum()) == pytest.approx(values[expected], abs=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial:2", "cubic:0:2"])
def test_mask_source_bound_of_the_exact_posterior_is_the_likelihood(pack_of, pairs, exact_mean, schedule):
    for protein, share in list(zip(pairs.proteins(), pairs.joint.flatten().tolist(), strict=True))[::5]:
        found = exact_mean(flow_matching(schedule=schedule), pairs, pack_of(protein))
        assert found == pytest.approx(-math.log(share), abs=2e-6)


def exact_log_posterior(shares: torch.Tensor, kappa: torch.Tensor, xt: torch.Tensor) -> torch.Tensor:
    """log p(x1 | x_t) of proteins of one residue on the path of the uniform source, [..., x1], for letters 0 to 19."""
    kappa = kappa[..., None]
    joint = shares * (kappa * torch.nn.functional.one_hot(xt, 20) + (1 - kappa) / 20)
    return (joint / joint.sum(-1, keepdim=True)).log()


def integral_of_uniform_source(shares: torch.Tensor, schedule: str, last: float = 1.0) -> float:
    """The generalised KL of the exact posterior, averaged over x1 and x_t, integrated up to `last` by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    s, width = (1 - last) ** 0.25, 1 - (1 - last) ** 0.25
    s = double(s + width * (nodes + 1) / 2)[:, None, None]
    t = 1 - s**4  # tames the logarithm at t = 1
    kappa = build_schedule(schedule).kappa(t).expand(-1, 20, 20)
    xt, x1 = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    xt, x1 = xt.expand(80, 20, 20), x1.expand(80, 20, 20)
    chance = shares[x1] * ((1 - kappa) / 20 + kappa * (xt == x1))
    loss = generalised_kl(
        exact_log_posterior(shares, kappa, xt), x1, xt, flow_matching("uniform", schedule=schedule).path.rate(t)
    )
    integrand = torch.where(chance > 0, chance * loss, 0.0) * 4 * s**3
    return float((double(weights / 2 * width)[:, None, None] * integrand).sum())


def bound_of_uniform_source(shares: list[float]) -> float:
    """The same in closed form, which no schedule enters.

    For y != x the exact posterior is p(y | x) = q(y) u / (V m(x)) with u = 1 - kappa and m(x) = (1 - u) q(x) + u / V.
    In the mean over x_t and x1 the terms p(x_t) and 1{x_t = x1} cancel; the integral of - log p(y | x) over u leaves

        1/V sum_{x != y} q(y) [ - log q(y) + log V + (b log b - a log a) / (b - a) ],   a = q(x), b = 1/V
    """
    size, b = len(shares), 1 / len(shares)

    def slope(a: float) -> float:
        return (b * math.log(b) - (a * math.log(a) if a else 0.0)) / (b - a) if a != b else math.log(b) + 1

    terms = [
        q * (-math.log(q) + math.log(size) + slope(a))
        for (x, a), (y, q) in itertools.product(enumerate(shares), enumerate(shares))
        if x != y and q
    ]
    return sum(terms) / size


@pytest.mark.parametrize(("source", "most"), [("mask", 3e-6), ("uniform", 1.7e-5)])
@pytest.mark.parametrize("schedule", ["linear", "polynomial:2"])
def test_along_a_path_the_bound_goes_to_the_end(pack_of, source, most, schedule):
    """The exact posterior of one residue: the integral up to the last time, by quadrature, and what is added to it."""
    shares = double([*SHARES, *[0.0] * 16])
    path = build_process(config.FlowMatching(source=source, schedule=schedule)).path.for_likelihood()
    last, total = 1 - path.time_epsilon, path.last_nll()
    nodes, weights = np.polynomial.legendre.leggauss(80)
    width = -math.log(1 - last)  # of - log(1 - kappa), evenly in which the logarithm at kappa = 1 is tame
    for node, weight in zip((nodes + 1) / 2 * width, weights / 2 * width, strict=True):
        left = math.exp(-node)
        clean, seen = torch.meshgrid(torch.arange(4), torch.arange(20 if source == "uniform" else 1), indexing="ij")
        clean, seen = clean.flatten(), seen.flatten()
        chance = left / 20 + (1 - left) * (clean == seen) if source == "uniform" else torch.full((4,), left)
        times_S = path.schedule.inverse(double([1 - left]))
        posterior = exact_log_posterior(shares, double(1 - left), seen) if source == "uniform" else shares.log()
        logits_TV = torch.full((len(clean), alphabet.SIZE), -1e4, dtype=torch.float64)
        logits_TV[:, 4:24] = posterior.clamp(min=-1e4)
        pack = pack_of("".join("LAGV"[i] for i in clean.tolist()))
        tokens_T = seen + 4 if source == "uniform" else torch.full((4,), alphabet.MASK)
        noisy = NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=pack.scored_T)
        nll_T = path.elbo(canonical_log_posterior(logits_TV).double(), noisy) / last
        total += weight * left * float((shares[clean] * chance * nll_T).sum())
    entropy = -sum(q * math.log(q) for q in SHARES)
    assert 0 < total - entropy < most


UNIFORM_SOURCE = {
    "four letters": [*SHARES, *[0.0] * 16],
    "all alike": [0.05] * 20,
    "one letter": [1.0, *[0.0] * 19],
    "all different": [(i + 1) / 210 for i in range(20)],
}


@pytest.mark.parametrize("shares", UNIFORM_SOURCE.values(), ids=UNIFORM_SOURCE)
def test_uniform_source_bound_of_the_exact_posterior(shares):
    """Above the entropy, unlike that of the mask source.

    Under the mixture of the paths to each x1 a residue that has jumped stays; the Markov process with the exact
    posterior cannot see whether it has, so it is another process, with the same marginals: the gap is their divergence.
    """
    expected, entropy = bound_of_uniform_source(shares), -sum(q * math.log(q) for q in shares if q)
    for schedule in ("linear", "cosine"):
        assert integral_of_uniform_source(double(shares), schedule) == pytest.approx(expected, abs=1e-8)
    assert expected > entropy + 0.1 or expected == entropy == 0
    if len(set(shares)) == 1:
        assert expected == pytest.approx(19 / 20 * (math.log(20) + 1))


def test_corrupt_and_loss_estimate_the_bound_of_the_uniform_source(pack_of):
    shares, e, size = double([*SHARES, *[0.0] * 16]), 0.01, 8000
    letters = [letter for letter, share in zip("LAGV", SHARES, strict=True) for _ in range(round(share * size))]
    pack, objective, draws = pack_of(*letters), flow_matching("uniform", e=e), []
    for epoch in range(16):
        noisy = objective.corrupt(pack, KeyedRng(2, epoch))
        assert noisy.predicted_T.all()
        logits_TV = torch.full((size, alphabet.SIZE), -1e4)
        logits_TV[:, 4:24] = exact_log_posterior(shares, noisy.times_T, noisy.tokens_T - 4).clamp(min=-1e4).float()
        terms = objective.loss(logits_TV, noisy)
        draws.append(float(terms.total) / int(terms.count))
    error = float(double(draws).std()) / 4
    assert error < 0.02
    expected = integral_of_uniform_source(shares, "linear", last=1 - e)
    assert sum(draws) / 16 == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize(
    ("t", "schedule", "slope"), [(0.0, "linear", 1), (0.0, "cosine", 0), (1 - 1e-6, "linear", 1e6)]
)
def test_ends_of_time_of_the_uniform_source(pack_of, t, schedule, slope):
    """p(L) = 1/4 and p(A) = 3/4, one residue L kept and one changed to A, by hand."""
    pack, times_S = pack_of("LL"), double([t])
    noisy = NoisyBatch(clean=pack, tokens_T=pack_of("LA").tokens_T, times_S=times_S, predicted_T=pack.scored_T)
    logits_TV = torch.full((2, alphabet.SIZE), -1e4)
    logits_TV[:, alphabet.encode("LA").tolist()] = torch.tensor([0.25, 0.75]).log()
    terms = flow_matching("uniform", schedule=schedule).loss(logits_TV, noisy)
    assert float(terms.total) == pytest.approx(slope * (3 / 4 + math.log(4) - 3 / 4), rel=1e-6, abs=1e-9)
    certain_TV = torch.full((2, alphabet.SIZE), -1e4).index_fill(1, torch.tensor([4]), 0.0)
    assert float(flow_matching("uniform", schedule=schedule).loss(certain_TV, noisy).total) == 0


@pytest.mark.parametrize("source", ["mask", "uniform"])
@pytest.mark.parametrize("loss", ["cross_entropy", "generalised_kl"])
def test_gradients_are_finite_and_only_where_they_should_be(make_pack, source, loss):
    pack = make_pack([40, 60])
    objective = flow_matching(source, loss, e=1e-3)
    noisy = objective.corrupt(pack, KeyedRng(0, 0))
    logits_TV = (torch.randn(100, alphabet.SIZE, generator=torch.Generator().manual_seed(0)) * 5).requires_grad_()
    objective.loss(logits_TV, noisy).total.backward()
    assert torch.isfinite(logits_TV.grad).all()
    others = [i for i in range(alphabet.SIZE) if not 4 <= i < 24]
    assert (logits_TV.grad[:, others] == 0).all()
    assert torch.equal((logits_TV.grad != 0).any(1), noisy.predicted_T)


def test_gradient_of_the_generalised_kl_is_its_numerical_derivative():
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    x1, xt = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([0, 2, 2, 0, 4, 1])
    rates = double([1.0, 2.0, 0.5, 3.0, 1.0, 7.0])
    torch.autograd.gradcheck(lambda values: generalised_kl(values.log_softmax(-1), x1, xt, rates), logits)


@settings(max_examples=40)
@given(proteins, st.sampled_from(["mask", "uniform"]), st.integers(0, 1 << 30))
def test_cross_entropy_is_that_of_torch_per_residue(pack_of, sequences, source, seed):
    pack, objective = pack_of(*sequences, ends=True), flow_matching(source, "cross_entropy", e=1e-3)
    noisy = objective.corrupt(pack, KeyedRng(seed, 0))
    logits_TV = torch.randn(len(pack.tokens_T), alphabet.SIZE, generator=torch.Generator().manual_seed(seed))
    terms = objective.loss(logits_TV, noisy)
    letters = [alphabet.TOKENS[i] for i in pack.tokens_T.tolist()]
    scored = [i for i, letter in enumerate(letters) if letter in alphabet.CANONICAL_LETTERS]
    assert int(terms.count) == len(scored)
    if source == "mask":  # what is visible is known
        scored = [i for i in scored if noisy.tokens_T[i] == alphabet.MASK]
    expected = torch.nn.functional.cross_entropy(logits_TV[scored, 4:24], pack.tokens_T[scored] - 4, reduction="sum")
    torch.testing.assert_close(terms.total.float(), expected, rtol=1e-5, atol=1e-5)
    assert terms.metrics["cross_entropy"] == (terms.total, terms.count)


@pytest.mark.parametrize("source", ["mask", "uniform"])
@pytest.mark.parametrize("loss", ["cross_entropy", "generalised_kl"])
def test_special_tokens_and_residues_that_are_not_scored_add_nothing(pack_of, source, loss):
    objective, letters = flow_matching(source, loss, e=0.1), "BLAGVX"
    noisy = objective.corrupt(pack_of(letters, ends=True), KeyedRng(4, 0))
    assert noisy.predicted_T.any()
    logits_TV = torch.randn(8, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    bare = replace(noisy, clean=pack_of("LAGV"), tokens_T=noisy.tokens_T[2:6], predicted_T=noisy.predicted_T[2:6])
    whole, inside = objective.loss(logits_TV, noisy), objective.loss(logits_TV[2:6], bare)
    torch.testing.assert_close(whole.total, inside.total, rtol=1e-12, atol=0)
    for name, (total, count) in whole.metrics.items():
        torch.testing.assert_close(total, inside.metrics[name][0], rtol=1e-12, atol=0)
        assert count == inside.metrics[name][1]


def test_nats_are_the_bound_whatever_the_loss(make_pack):
    pack = make_pack([50])
    logits_TV = torch.randn(50, alphabet.SIZE, generator=torch.Generator().manual_seed(0))
    for source in ("mask", "uniform"):
        noisy = flow_matching(source, e=0.1).corrupt(pack, KeyedRng(0, 0))
        bound = flow_matching(source, e=0.1).loss(logits_TV, noisy)
        other = flow_matching(source, "cross_entropy", e=0.1).loss(logits_TV, noisy)
        assert other.metrics["nll"] == bound.metrics["nll"]
        assert other.total != bound.total
        nats = float(bound.total) + 50 * flow_matching(source, e=0.1).path.last_nll()
        assert (float(bound.metrics["nll"][0]) == pytest.approx(nats, rel=1e-12)) == (source == "mask")
    mask = flow_matching(e=0.1)
    noisy = mask.corrupt(pack, KeyedRng(0, 0))
    absorbing = AbsorbingDiffusion(mask.path, "uniform").loss(logits_TV, noisy)
    assert flow_matching(loss="cross_entropy", e=0.1).loss(logits_TV, noisy).total == absorbing.total


def test_as_the_recipe_says():
    options = config.FlowMatching(source="uniform", loss="cross_entropy", schedule="cubic:0:2", time_epsilon=0.01)
    assert build(options) == flow_matching("uniform", "cross_entropy", "cubic:0:2", 0.01)
    assert build_process(options) == PathProcess(build(options).path)
    with pytest.raises(ValueError, match=r"objective\.schedule=polynomial:-1"):
        build(config.FlowMatching(schedule="polynomial:-1"))
