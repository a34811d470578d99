import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from d2plm_megatron.objectives import metric_velocity
from d2plm_megatron.objectives.metric_noising import Noising
from d2plm_megatron.objectives.metric_path import MetricPath, ends_nll
from d2plm_megatron.objectives.schedules import Odds
from d2plm_megatron.proteins import distances

CPU = torch.device("cpu")


def double(values) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def normalised(table: np.ndarray) -> distances.Distance:
    return tuple(map(tuple, (table / table[np.triu_indices(len(table), 1)].mean()).tolist()))


POINTS = np.random.default_rng(7).normal(size=(4, 3))
APART = np.linalg.norm(POINTS[:, None] - POINTS, axis=-1)
ON_A_LINE = np.abs(np.subtract.outer([0.0, 1, 3, 4], [0.0, 1, 3, 4]))
FOUR = {name: normalised(table) for name, table in
        {"points": APART, "squares": APART**2, "cubes": APART**3, "line": ON_A_LINE}.items()}  # fmt: skip
MARKOV = {"points", "line"}
BLOSUM62 = {power: distances.to_power(distances.blosum62(), power) for power in (1.0, 2.0)}


def derivative(log_p: Tensor, distance_VV: Tensor) -> Tensor:
    """dp / dbeta, [x1, x]."""
    p = log_p.exp()
    return p * ((p * distance_VV).sum(-1, keepdim=True) - distance_VV)


@pytest.mark.parametrize("power", BLOSUM62)
@pytest.mark.parametrize("beta", [0.01, 0.5, 3.0, 9.0])
@pytest.mark.parametrize("kind", ["kinetic-optimal", "of the bound"])
def test_rates_solve_kolmogorovs_equation(power: float, beta: float, kind: str) -> None:
    """What flows into each residue, less what flows out, is what its chance gains, for each x1; no rate is negative."""
    known = Noising.of(BLOSUM62[power], CPU)
    log_p = metric_velocity.log_chances(double(beta), known.distance_VV)
    shift = 1e-5 * beta
    before, after = (metric_velocity.log_chances(double(beta + s), known.distance_VV).exp() for s in (-shift, shift))
    torch.testing.assert_close(
        derivative(log_p, known.distance_VV), (after - before) / (2 * shift), rtol=1e-6, atol=1e-9
    )
    each, xt = log_p.expand(20, 20, 20), torch.arange(20)
    if kind == "kinetic-optimal":
        rates = metric_velocity.towards(each, -known.distance_VV, xt)
    else:
        noising = known.rates(double(beta))
        drift = metric_velocity.drift(log_p, known.distance_VV, noising)
        rates = metric_velocity.rates_of_bound(each, drift.expand_as(each), noising.expand_as(each), xt)
    rates = rates.transpose(0, 1)  # [x1, x, y]
    flow = log_p.exp()[:, :, None] * rates
    gained = flow.sum(1) - flow.sum(2)
    assert (rates >= 0).all() and (rates.diagonal(dim1=1, dim2=2) == 0).all()
    torch.testing.assert_close(gained, derivative(log_p, known.distance_VV), rtol=1e-7, atol=1e-10)


def pair_bound(distance: distances.Distance, joint: Tensor, model: Tensor | None, kind: str = "") -> float:
    """The bound of pairs drawn from `joint` by the exact posterior of another joint, or by one that knows nothing.

    V = 4, L = 2: all x1 and x_t are summed, and log beta is integrated over by the midpoint rule.
    """
    known, count = Noising.of(distance, CPU), 600
    path = MetricPath(Odds(3, 0.9), distance, 0.0)
    first, last = known.log_beta_G[[0, -1]]
    beta = (first + (last - first) * (torch.arange(count, dtype=torch.float64) + 0.5) / count).exp()
    weight = beta * (last - first) / count
    log_p, noising = metric_velocity.log_chances(beta, known.distance_VV), known.rates(beta)
    noising = torch.zeros_like(noising) if kind == "kinetic-optimal" else noising
    drift = metric_velocity.drift(log_p, known.distance_VV, noising)
    chance = log_p.exp()  # [time, x1, x]
    total = float((joint.sum(1) * double(ends_nll(path))).sum() + (joint.sum(0) * double(ends_nll(path))).sum())
    for x, y in itertools.product(range(4), repeat=2):
        both = torch.einsum("ab,ta,tb->tab", joint, chance[:, :, x], chance[:, :, y])
        if model is None:
            believed = torch.rand(count, 4, 4, generator=torch.Generator().manual_seed(x), dtype=torch.float64) + 0.1
        else:
            believed = torch.einsum("ab,ta,tb->tab", model, chance[:, :, x], chance[:, :, y])
        believed = believed / believed.sum((1, 2), keepdim=True)
        for axis, seen in ((2, x), (1, y)):
            rates = metric_velocity.rates_of_bound(log_p, drift, noising, torch.full((count,), seen))
            for x1 in range(4):
                lost = metric_velocity.bound(believed.sum(axis).log(), rates, torch.full((count,), x1))
                total += float((weight * both.sum(axis)[:, x1] * lost).sum())
    return total


def joint_of(seed: int) -> Tensor:
    joint = torch.rand(4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 2 + 0.01
    return joint / joint.sum()


@pytest.mark.parametrize("name", FOUR)
def test_the_bound_of_pairs_is_their_likelihood_where_noising_is_markov(name: str) -> None:
    """Of the exact posterior, and of one that believes in another joint; elsewhere it lies above.

    What a belief makes of the ends is not asked, so that of a wrong one the likelihood is known to 3e-4 alone.
    """
    joint, other = joint_of(1), joint_of(2)
    for believed, slack in ((joint, 0), (other, 3e-4)):
        truth = -float((joint * believed.log()).sum())
        found = pair_bound(FOUR[name], joint, believed)
        assert found > truth - slack
        assert (found < truth + 3e-4) == (name in MARKOV)


def test_the_bound_holds_for_a_posterior_of_nothing_in_particular() -> None:
    joint = joint_of(3)
    for distance in FOUR.values():
        assert pair_bound(distance, joint, None) > -float((joint * joint.log()).sum()) + 0.1


def test_kinetic_optimal_rates_alone_would_bound_it_loosely() -> None:
    joint = joint_of(1)
    entropy = -float((joint * joint.log()).sum())
    assert pair_bound(FOUR["points"], joint, joint, "kinetic-optimal") > entropy + 0.2


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_gap_of_blosum62(power: float) -> None:
    """Of single residues, drawn evenly, in nats: none where noising is Markov, and little for the squared distance."""
    known = Noising.of(BLOSUM62[power], CPU)
    betas = known.log_beta_G.exp()[::16]
    chances = metric_velocity.log_chances(betas[:-3], known.distance_VV)
    noising = torch.stack([-torch.linalg.solve(one.exp(), derivative(one, known.distance_VV)) for one in chances])
    others = noising[:, ~torch.eye(20, dtype=torch.bool)]
    assert float(others.min()) > -1e-9 if power == 1 else float(others.min()) < -1e-2
    gap = 0.0
    for beta in betas:
        lost = metric_velocity.even_bound(beta, known.distance_VV, known.rates(beta))
        log_p = metric_velocity.log_chances(beta, known.distance_VV)
        told = (derivative(log_p, known.distance_VV) * (log_p - log_p.exp().mean(0).log())).sum() / 20
        gap += float((lost - told) * beta) * float(known.log_beta_G[16] - known.log_beta_G[0])
    low, high = {1.0: (-1e-6, 1e-4), 2.0: (1e-3, 0.02)}[power]
    assert low < gap < high


UNIPROT = [9.65, 8.25, 7.07, 6.86, 6.64, 6.72, 5.53, 5.35, 5.91, 5.46,
           4.74, 5.8, 3.93, 4.06, 3.86, 2.92, 2.41, 2.27, 1.1, 1.38]  # fmt: skip
"""Per cent of L A G V S E R T I D P K Q N F Y M H W C in UniProtKB/Swiss-Prot."""


def gap_by_quadrature(known: Noising, share_V: Tensor, kinetic_optimal: bool) -> float:
    """What the exact posterior of residues by themselves loses above what x_t comes to know, in nats."""
    lost, each = [], torch.arange(20)
    log_p_GVV = metric_velocity.log_chances(known.log_beta_G.exp()[::4], known.distance_VV)
    for log_p, beta in zip(log_p_GVV, known.log_beta_G.exp()[::4], strict=True):
        noising = torch.zeros_like(log_p) if kinetic_optimal else known.rates(beta)
        drift = metric_velocity.drift(log_p, known.distance_VV, noising)
        rates = metric_velocity.rates_of_bound(log_p.expand(20, -1, -1), drift, noising.expand(20, -1, -1), each)
        together = log_p.exp() * share_V[:, None]
        model = ((together / together.sum(0)).T[:, None] @ rates)[:, 0]
        lost.append((together.T * metric_velocity.divergence(model[:, None], rates)).sum() * beta)
    ends = log_p_GVV[[0, -1]].exp() * share_V[:, None]
    told = torch.xlogy(ends, ends / (ends.sum(-1, keepdim=True) * ends.sum(-2, keepdim=True))).sum((1, 2)).diff()
    return float(torch.trapezoid(torch.stack(lost), known.log_beta_G[::4]) - told)


@pytest.mark.parametrize(
    ("power", "reported", "kinetic"),
    [(0.5, 0.00, 0.64), (1.0, 0.00, 0.59), (1.5, 0.00, 0.57), (2.0, 0.01, 0.56), (3.0, 0.46, 0.56), (4.0, 0.56, 0.59)],
)
def test_table_of_gaps_in_the_docs(power: float, reported: float, kinetic: float) -> None:
    """docs/objectives.md: of residues in their shares in UniProtKB/Swiss-Prot, by the power of BLOSUM62's distance."""
    share_V = double(UNIPROT) / sum(UNIPROT)
    assert float(torch.special.entr(share_V).sum()) == pytest.approx(2.888, abs=2e-3)
    known = Noising.of(distances.to_power(distances.blosum62(), power), CPU)
    assert gap_by_quadrature(known, share_V, kinetic_optimal=False) == pytest.approx(reported, abs=0.005)
    assert gap_by_quadrature(known, share_V, kinetic_optimal=True) == pytest.approx(kinetic, abs=0.005)


def test_gradient_of_the_bound_is_its_numerical_derivative() -> None:
    known = Noising.of(FOUR["squares"], CPU)
    beta, x1, xt = double([0.5, 2.0, 6.0]), torch.tensor([0, 1, 2]), torch.tensor([0, 3, 1])
    log_p, noising = metric_velocity.log_chances(beta, known.distance_VV), known.rates(beta)
    drift = metric_velocity.drift(log_p, known.distance_VV, noising)
    rates = metric_velocity.rates_of_bound(log_p, drift, noising, xt)
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda values: metric_velocity.bound(values.log_softmax(-1), rates, x1), logits)
