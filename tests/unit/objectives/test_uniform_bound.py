import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from d2plm_megatron.objectives.flow_matching import FlowMatching, generalised_kl
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Polynomial, build_schedule
from d2plm_megatron.objectives.source import Uniform
from d2plm_megatron.objectives.uniform_bound import markov_bound
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

FOUR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
SCHEDULES = ["linear", "cosine", "polynomial:2", "cubic:0:2"]


def double(values) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def chances(kappa: Tensor, size: int) -> Tensor:
    """p(x_t | x1) at each time, [..., x1, x_t]."""
    kappa = kappa[..., None, None]
    return kappa * torch.eye(size, dtype=torch.float64) + (1 - kappa) / size


def nodes_of_time(count: int = 120) -> tuple[Tensor, Tensor]:
    """Times and weights of a quadrature over (0, 1) that is dense at 1, where logarithms diverge."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    s = double(nodes + 1) / 2
    return 1 - s**4, double(weights) / 2 * 4 * s**3


def bound_of_one_residue(prior: Tensor, model: Tensor, schedule: str) -> float:
    """The bound of proteins of one residue, drawn from `prior`, by a model that believes they come from `model`."""
    path, size = build_schedule(schedule), len(prior)
    times, weights = nodes_of_time()
    forward = chances(path.kappa(times), size)
    believed = model[:, None] * forward
    log_posterior = (believed / believed.sum(1, keepdim=True)).transpose(1, 2).log()  # [time, x_t, x1]
    total = 0.0
    for x1, xt in itertools.product(range(size), range(size)):
        ids = (torch.full_like(times, x, dtype=torch.int64) for x in (x1, xt))
        loss = markov_bound(log_posterior[:, xt], *ids, path.kappa(times), path.derivative(times))
        total += float((weights * prior[x1] * forward[:, x1, xt] * loss).sum())
    return total


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_exact_posterior_gives_the_entropy(schedule: str) -> None:
    entropy = -float((FOUR * FOUR.log()).sum())
    assert bound_of_one_residue(FOUR, FOUR, schedule) == pytest.approx(entropy, abs=1e-6)


def test_wrong_belief_gives_its_cross_entropy() -> None:
    """The reverse process of a belief about x1 draws from that belief, so the bound is exact for it too."""
    belief = double([0.1, 0.2, 0.3, 0.4])
    expected = -float((FOUR * belief.log()).sum())
    assert bound_of_one_residue(FOUR, belief, "linear") == pytest.approx(expected, abs=1e-6)


def test_pairs_of_residues_reach_the_likelihood_of_the_pair() -> None:
    """V = 4, L = 2: exact posterior of a correlated pair, all pairs x1 and x_t summed, time by quadrature."""
    size = 4
    joint = torch.rand(size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    joint /= joint.sum()
    times, weights = nodes_of_time()
    forward = chances(times, size)
    both = torch.einsum("ab,tax,tby->txyab", joint, forward, forward)
    posterior = both / both.sum((-1, -2), keepdim=True)
    total = 0.0
    for a, b, x, y in itertools.product(range(size), repeat=4):
        chance = joint[a, b] * forward[:, a, x] * forward[:, b, y]
        for x1, xt, marginal in ((a, x, posterior[:, x, y].sum(-1)), (b, y, posterior[:, x, y].sum(-2))):
            ids = (torch.full_like(times, i, dtype=torch.int64) for i in (x1, xt))
            loss = markov_bound(marginal.log(), *ids, times, torch.ones_like(times))
            total += float((weights * chance * loss).sum())
    assert total == pytest.approx(-float((joint * joint.log()).sum()), abs=1e-6)


def test_is_tighter_than_the_generalised_kl() -> None:
    times, weights = nodes_of_time()
    forward = chances(times, 4)
    posterior = FOUR[:, None] * forward
    log_posterior = (posterior / posterior.sum(1, keepdim=True)).transpose(1, 2).log()
    loose = 0.0
    for x1, xt in itertools.product(range(4), range(4)):
        ids = (torch.full_like(times, x, dtype=torch.int64) for x in (x1, xt))
        loss = generalised_kl(log_posterior[:, xt], *ids, 1 / (1 - times))
        loose += float((weights * FOUR[x1] * forward[:, x1, xt] * loss).sum())
    assert loose > bound_of_one_residue(FOUR, FOUR, "linear") + 0.1


def test_is_never_negative_and_zero_only_for_the_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    log_posterior = torch.randn(500, 20, generator=generator, dtype=torch.float64).log_softmax(-1)
    x1, xt = (torch.randint(20, (500,), generator=generator) for _ in range(2))
    kappa = torch.rand(500, generator=generator, dtype=torch.float64)
    assert (markov_bound(log_posterior, x1, xt, kappa, torch.ones(500)) > 0).all()
    certain = torch.nn.functional.one_hot(x1, 20).double().log()
    assert markov_bound(certain, x1, xt, kappa, torch.ones(500)).abs().max() < 1e-9


def test_both_ends_of_time() -> None:
    """By hand: at t = 0 all is noise and nothing can be lost; at t = 1 a kept residue costs its doubt."""
    log_posterior, one = double([0.7, 0.1, 0.1, 0.1]).log()[None], torch.ones(1)
    ids = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
    assert float(markov_bound(log_posterior, *ids, double([0.0]), one)) == pytest.approx(0, abs=1e-4)
    e = 1e-9
    kept = float(markov_bound(log_posterior, ids[0], ids[0], double([1 - e]), one))
    assert kept == pytest.approx(3 * 0.1 * (4 / e) / 4, rel=1e-6)


def test_objective_reports_it(pack_of) -> None:
    """A model that always answers with the shares of the residues costs their entropy: a context-free model's value."""
    e, letters = 1e-3, "L" * 400 + "A" * 300 + "G" * 200 + "V" * 100
    pack = pack_of(*letters)
    objective = FlowMatching(MixturePath(Polynomial(), Uniform(), time_epsilon=e), cross_entropy=True)
    found = []
    for epoch in range(40):
        noisy = objective.corrupt(pack, KeyedRng(1, epoch))
        kappa_T1 = noisy.times_T[:, None]
        xt = torch.nn.functional.one_hot(noisy.tokens_T - 4, 20)
        prior = torch.cat([FOUR, torch.zeros(16, dtype=torch.float64)])
        belief = (prior * (kappa_T1 * xt + (1 - kappa_T1) / 20)).clamp(min=1e-30)
        logits_TV = torch.full((1000, alphabet.SIZE), -1e4)
        logits_TV[:, 4:24] = belief.log().float()
        nats, count = objective.loss(logits_TV, noisy).metrics["nll"]
        found.append(float(nats) / int(count))
    error = float(double(found).std()) / math.sqrt(len(found))
    assert error < 0.03
    assert sum(found) / len(found) == pytest.approx(-float((FOUR * FOUR.log()).sum()), abs=4 * error + 5 * e)
