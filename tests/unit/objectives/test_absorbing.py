import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron import config
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives import build, build_process
from d2plm_megatron.objectives.absorbing import AbsorbingDiffusion
from d2plm_megatron.objectives.flow_matching import FlowMatching
from d2plm_megatron.objectives.objective import canonical_log_posterior
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.process import PathProcess
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import Mask
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

proteins = st.lists(st.text(alphabet.RESIDUE_LETTERS, min_size=1, max_size=12), min_size=1, max_size=6)


def absorbing(schedule: str = "linear", epsilon: float = 0.0, weight: str = "elbo") -> AbsorbingDiffusion:
    return AbsorbingDiffusion(MixturePath(build_schedule(schedule), Mask(), epsilon), weight)


def random_logits(pack, seed: int = 0) -> torch.Tensor:
    return torch.randn(len(pack.tokens_T), alphabet.SIZE, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_bound_of_the_exact_posterior_is_the_likelihood(pack_of, pairs, exact_mean, schedule):
    for protein, share in list(zip(pairs.proteins(), pairs.joint.flatten().tolist(), strict=True))[::3]:
        assert exact_mean(absorbing(schedule), pairs, pack_of(protein)) == pytest.approx(-math.log(share), abs=2e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial:2", "cubic:0:2", "cubic:1.5:0.5"])
def test_bound_of_any_model_by_enumeration(pack_of, masked, exact_mean, arbitrary_model, schedule):
    """A set of k of L masks weighs the integral of m^(k - 1) (1 - m)^(L - k) over the masked share m."""
    pack, length, expected = pack_of("GAV"), 3, 0.0
    for count in (1, 2, 3):
        beta = math.gamma(count) * math.gamma(length - count + 1) / math.gamma(length + 1)
        for places in combinations(range(length), count):
            posterior_TV = canonical_log_posterior(arbitrary_model(masked(pack, places, 0.5))[0]).double()
            expected -= beta * sum(float(posterior_TV[i, pack.tokens_T[i]]) for i in places)
    assert exact_mean(absorbing(schedule), arbitrary_model, pack) == pytest.approx(expected, abs=1e-9)


def test_what_epsilon_leaves_out(pack_of, masked, exact_mean, arbitrary_model):
    """With t < 1 - e the weights 1/2 of L = 2 become (1 - e^2) / 2 for both masked and (1 - e)^2 / 2 for one."""
    pack, e = pack_of("GA"), 0.1

    def nats(*places: int) -> float:
        posterior_TV = canonical_log_posterior(arbitrary_model(masked(pack, places, 0.5))[0]).double()
        return -sum(float(posterior_TV[i, pack.tokens_T[i]]) for i in places)

    expected = (1 - e**2) / 2 * nats(0, 1) + (1 - e) ** 2 / 2 * (nats(0) + nats(1))
    assert exact_mean(absorbing(epsilon=e), arbitrary_model, pack) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_without_context_the_bound_is_the_cross_entropy(pack_of, exact_mean, schedule):
    logits_V = torch.linspace(-2, 1, alphabet.SIZE)
    pack = pack_of("LKW")
    expected = -float(canonical_log_posterior(logits_V[None])[0, pack.tokens_T].double().sum())
    found = exact_mean(absorbing(schedule), lambda noisy: logits_V.expand(1, 3, -1), pack)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_corrupt_and_loss_estimate_the_bound(pack_of, pairs, schedule):
    shares = pairs.joint.flatten()
    drawn = torch.multinomial(shares, 4000, replacement=True, generator=torch.Generator().manual_seed(0))
    pack, objective = pack_of(*(pairs.proteins()[i] for i in drawn)), absorbing(schedule, 1e-5)
    draws = []
    for epoch in range(16):
        noisy = objective.corrupt(pack, KeyedRng(1, epoch))
        terms = objective.loss(pairs(noisy)[0], noisy)
        draws.append(float(terms.total) / int(terms.count))
    draws = torch.tensor(draws, dtype=torch.float64)
    expected = -float(shares[drawn].log().mean()) / 2  # per residue
    error = float(draws.std()) / 4
    assert error < 0.01
    assert float(draws.mean()) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("t", [1e-12, 1e-6, 0.5, 1 - 1e-3 - 1e-9, None])
def test_is_the_generalised_kl_of_flow_matching(make_pack, schedule, t):
    pack = make_pack([700, 300, 1000])
    path = MixturePath(build_schedule(schedule), Mask(), time_epsilon=1e-3)
    times_S = path.times(pack, KeyedRng(0, 0)) if t is None else torch.full((3,), t, dtype=torch.float64)
    tokens_T = path.sample(pack, times_S, KeyedRng(0, 0))
    if t == 1e-12:
        assert (tokens_T == alphabet.MASK).all()
    noisy = NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=tokens_T == alphabet.MASK)
    terms, gradients = [], []
    for objective in (AbsorbingDiffusion(path), FlowMatching(path, cross_entropy=False)):
        logits_TV = random_logits(pack).requires_grad_()
        terms.append(objective.loss(logits_TV, noisy))
        gradients.append(torch.autograd.grad(terms[-1].total, logits_TV)[0])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[0].any() == noisy.predicted_T.any()
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(terms[0].total, terms[1].total, rtol=1e-13, atol=0)
    torch.testing.assert_close(terms[0].metrics["nll"], terms[1].metrics["nll"], rtol=1e-13, atol=0)
    assert terms[0].count == terms[1].count == 2000


def test_nearly_nothing_is_masked_at_the_last_time(make_pack):
    pack = make_pack([20_000])
    last = torch.tensor([1 - 1e-3], dtype=torch.float64)
    for schedule, share in (("linear", 1e-3), ("cosine", math.sin(math.pi / 2 * 1e-3))):
        tokens_T = absorbing(schedule).path.sample(pack, last, KeyedRng(0, 0))
        expected = 20_000 * share
        assert abs(int((tokens_T == alphabet.MASK).sum()) - expected) < 4 * math.sqrt(expected)


def test_gradient_by_hand(pack_of, masked):
    """Of rate * (- log softmax over the 20): rate * (p - onehot) at masked places, 0 at others and other letters."""
    noisy = masked(pack_of("MKT", ends=True), [1, 3], 0.75)
    logits_TV = random_logits(noisy.clean).requires_grad_()
    absorbing().loss(logits_TV, noisy).total.backward()
    expected_TV = torch.zeros_like(logits_TV)
    for place in (1, 3):
        expected_TV[place, 4:24] = logits_TV[place, 4:24].detach().softmax(0)
        expected_TV[place, noisy.clean.tokens_T[place]] -= 1
    torch.testing.assert_close(logits_TV.grad, 4 * expected_TV, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("weight", "at_quarter"), [("elbo", 4 / 3), ("uniform", 1.0), ("linear", 0.25)])
def test_weights(pack_of, masked, weight, at_quarter):
    noisy = masked(pack_of("MKTX", ends=True), [1, 2], 0.25)
    terms = absorbing(weight=weight).loss(torch.zeros(6, alphabet.SIZE), noisy)
    nats = 2 * math.log(20)
    assert float(terms.total) == pytest.approx(at_quarter * nats, rel=1e-6)
    assert int(terms.count) == 3  # M, K and T: X and the ends are never scored
    total, count = terms.metrics["nll"]
    assert (float(total), int(count)) == (pytest.approx(4 / 3 * nats, rel=1e-6), 3)
    total, count = terms.metrics["masked_nll"]
    assert (float(total), int(count)) == (pytest.approx(nats, rel=1e-6), 2)


@settings(max_examples=50)
@given(proteins, st.integers(0, 1 << 30))
def test_only_masked_canonical_residues_are_scored(pack_of, sequences, seed):
    pack, objective = pack_of(*sequences, ends=True), absorbing("cosine", 1e-3)
    noisy = objective.corrupt(pack, KeyedRng(seed, 0))
    assert torch.equal(noisy.predicted_T, noisy.tokens_T != pack.tokens_T)
    assert torch.equal(noisy.times_T, noisy.times_S[pack.sequence_T])
    logits_TV = random_logits(pack, seed)
    terms = objective.loss(logits_TV, noisy)
    assert int(terms.count) == sum(letter in alphabet.CANONICAL_LETTERS for letter in "".join(sequences))
    changed_TV = torch.where(noisy.predicted_T[:, None], logits_TV, logits_TV.flip(1))
    changed_TV[:, [0, 3, 24, 32]] += 100  # neither other places nor other letters matter
    torch.testing.assert_close(objective.loss(changed_TV, noisy).total, terms.total, rtol=1e-12, atol=0)


def test_as_the_recipe_says():
    options = config.Absorbing(schedule="cosine", weight="uniform", time_epsilon=0.01)
    assert build(options) == absorbing("cosine", 0.01, "uniform")
    assert build_process(options) == PathProcess(absorbing("cosine", 0.01).path)
