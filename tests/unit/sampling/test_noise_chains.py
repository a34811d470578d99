"""Every sampler of random residues against its chain, carried along exactly: pairs of 20 letters, 400 states."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.sampling.bridge import bridge

KAPPA: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "cosine": lambda t: 1 - math.cos(math.pi / 2 * t),
    "polynomial:0.5": math.sqrt,  # whose rate is infinite at t = 0
}
EYE, EVEN = torch.eye(20, dtype=torch.float64), torch.full((20,), 0.05, dtype=torch.float64)

Row = Callable[[Tensor, Tensor, float, float, float, float], Tensor]
"""(p(x1 | x_t), one-hot x_t, kappa_t, kappa_s, t, s) -> chances of what comes next, all [..., 20]."""


def jumps(row: Tensor, xt: Tensor, k_t: float, k_s: float, t: float, s: float) -> Tensor:
    chance = (k_s - k_t) / (1 - k_t)
    return chance * row + (1 - chance) * xt


def bridges(row: Tensor, xt: Tensor, k_t: float, k_s: float, t: float, s: float) -> Tensor:
    """The sum over x1 of p(x1) q(x_s | x_t, x1), by Bayes from the two steps of noising."""
    to_xt = (k_t / k_s) * xt + (1 - k_t / k_s) / 20  # q(x_t | y), over y
    from_x1 = k_s * EYE + (1 - k_s) / 20  # q(y | x1)
    both = to_xt[..., None, :] * from_x1
    return (row[..., :, None] * both / both.sum(-1, keepdim=True)).sum(-2)


def eulers(row: Tensor, xt: Tensor, k_t: float, k_s: float, t: float, s: float) -> Tensor:
    if s == 1:
        return row
    others = row * (1 - xt)
    total = others.sum(-1, keepdim=True)
    gone = 1 - torch.exp(-(k_s - k_t) / (1 - k_t) * total)
    return gone * others / total.clamp(min=1e-300) + (1 - gone) * xt


def corrects(row: Tensor, xt: Tensor, k_t: float, k_s: float, t: float, s: float) -> Tensor:
    """Of strength 2, with the linear schedule."""
    u = min(1.0, s + 2 * ((t + s) / 2 * (1 - (t + s) / 2)) ** 0.25 * (s - t))
    kept = 1.0 if s == 1 else s / u
    return kept * jumps(row, xt, t, u, t, u) + (1 - kept) / 20


ROWS: dict[str, Row] = {"exact": jumps, "bridge": bridges, "euler": eulers, "corrector": corrects}


class NoisyPairs:
    """Pairs of residues on the path of the uniform source; calling it gives the exact posterior of each place."""

    def __init__(self, joint: Tensor, schedule: str) -> None:
        self.kappa = KAPPA[schedule]
        self.joint = torch.zeros(20, 20, dtype=torch.float64)
        self.joint[:4, :4] = joint

    def posteriors(self, t: float) -> Tensor:
        """p(x1 | x_t) of the first and of the second residue, [2, x_t, y_t, 20]."""
        kept = self.kappa(t) * EYE + (1 - self.kappa(t)) / 20  # [x1, x_t]
        together = torch.einsum("ab,ax,by->xyab", self.joint, kept, kept)
        return torch.stack([together.sum(3), together.sum(2)]) / together.sum((2, 3))[..., None]

    def __call__(self, noisy: NoisyBatch) -> Tensor:
        first, second = (noisy.tokens_T.view(-1, 2) - 4).T
        logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
        found = self.posteriors(float(noisy.times_S[0]))[:, first, second].transpose(0, 1).flatten(0, 1)
        logits_TV[:, 4:24] = found.log().clamp(min=-1e4)
        return logits_TV

    def walked(self, row: Row, num_steps: int) -> Tensor:
        """What the chain ends in: each residue moves by itself."""
        now = torch.full((20, 20), 1 / 400, dtype=torch.float64)
        for k in range(num_steps):
            t, s = k / num_steps, (k + 1) / num_steps
            first, second = self.posteriors(t)
            step = (self.kappa(t), self.kappa(s), t, s)
            now = torch.einsum("xy,xya,xyb->ab", now, row(first, EYE[:, None], *step), row(second, EYE, *step))
        return now

    def far(self, row: Row, num_steps: int) -> float:
        """Total variation between what the chain ends in and the joint."""
        return float((self.walked(row, num_steps) - self.joint).abs().sum()) / 2

    def filled(self, row: Row, num_steps: int, first: int) -> Tensor:
        """What the chain of the second residue ends in when the first is given, which the model takes for noise."""
        now = torch.full((20,), 1 / 20, dtype=torch.float64)
        for k in range(num_steps):
            t, s = k / num_steps, (k + 1) / num_steps
            now = now @ row(self.posteriors(t)[1, first], EYE, self.kappa(t), self.kappa(s), t, s)
        return now

    def conditional(self, first: int) -> Tensor:
        """Of the second residue."""
        return self.joint[first] / self.joint[first].sum()


def template(pack: TokenBatch, first: int) -> TokenBatch:
    """The same pairs, of which the first residues are given."""
    is_first_T = pack.positions_T == pack.positions_T.min()
    tokens_T = torch.where(is_first_T, first + alphabet.FIRST_CANONICAL, pack.tokens_T)
    return replace(pack, tokens_T=tokens_T, scored_T=pack.scored_T & ~is_first_T)


WALKS = [(name, schedule) for name in ROWS for schedule in KAPPA if name != "corrector"] + [("corrector", "linear")]


@pytest.mark.parametrize("num_steps", [1, 4, 16])
@pytest.mark.parametrize(("name", "schedule"), WALKS)
def test_walk_is_the_chain(name, schedule, num_steps, pairs, walks, bare_pack):
    model, sampler = NoisyPairs(pairs.joint, schedule), [f"sampler={name}"]
    sampler += ["sampler.strength=2"] if name == "corrector" else []
    expected = model.walked(ROWS[name], num_steps)[:4, :4]
    tokens_T, _ = walks(bare_pack(8000, 2), model, num_steps, *sampler, schedule=schedule, source="uniform")
    first, second = (tokens_T.view(-1, 2) - 4).T
    counts = (20 * first + second).bincount(minlength=400).view(20, 20).double()[:4, :4]
    assert int(counts.sum()) == 8000  # the last step draws every residue
    assert float(((counts - 8000 * expected) ** 2 / (8000 * expected)).sum()) < 37.7  # 15 degrees, p = 0.001


@pytest.mark.parametrize("first", range(4))
def test_templates_with_masks_are_drawn_from_the_conditional(first, pairs, walks, bare_pack):
    for sampler in ("exact", "confidence", "adaptive", "remdm", "corrector"):
        tokens_T, _ = walks(template(bare_pack(2000, 2), first), lambda noisy: pairs(noisy)[0], 8, f"sampler={sampler}")
        counts = (tokens_T.view(-1, 2)[:, 1] - 4).bincount(minlength=4).double()
        expected = 2000 * NoisyPairs(pairs.joint, "linear").conditional(first)[:4]
        assert float(((counts - expected) ** 2 / expected).sum()) < 16.3  # 3 degrees, p = 0.001


def test_templates_of_random_residues_are_not_however_many_steps(pairs, walks, bare_pack):
    """docs/generation.md gives these distances. What is given is told to be noise, and hardly looked at early on."""
    model, found = NoisyPairs(pairs.joint, "linear"), {}
    for steps in (16, 128):
        far = [(model.filled(bridges, steps, x) - model.conditional(x)).abs().sum() / 2 for x in range(4)]
        found[steps] = [round(float(distance), 2) for distance in far]
    ignored = [float((model.joint.sum(0) - model.conditional(x)).abs().sum()) / 2 for x in range(4)]
    assert found == {16: [0.1, 0.05, 0.07, 0.06], 128: [0.09, 0.04, 0.06, 0.05]}
    assert [round(distance, 2) for distance in ignored] == [0.41, 0.32, 0.39, 0.35]
    tokens_T, _ = walks(template(bare_pack(8000, 2), 2), model, 16, source="uniform")
    counts = (tokens_T.view(-1, 2)[:, 1] - 4).bincount(minlength=4).double()
    expected = 8000 * model.filled(bridges, 16, 2)[:4]
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3  # the walk is that chain


@pytest.mark.parametrize("name", ROWS)
def test_error_is_of_first_order(name, pairs):
    model = NoisyPairs(pairs.joint, "linear")
    one, other = (model.far(ROWS[name], number) for number in (16, 64))
    assert one < 0.05 and 3.2 < one / other < 5.5


@pytest.mark.parametrize(("k_t", "k_s"), [(0.0, 0.3), (0.2, 0.21), (0.5, 0.9), (0.9, 1.0), (0.0, 1.0)])
def test_bridge_is_the_sum_over_what_the_residue_was(k_t, k_s):
    row = torch.rand(50, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    row, xt = row / row.sum(-1, keepdim=True), EYE[torch.arange(50) % 20]
    found = bridge(row, xt.bool(), k_t, k_s)
    torch.testing.assert_close(found, bridges(row, xt, k_t, k_s, 0, 0))
    torch.testing.assert_close(found.sum(-1), torch.ones(50, dtype=torch.float64))
    if k_s == 1:
        torch.testing.assert_close(found, row)


def test_nothing_moves_where_rounding_leaves_no_data():
    """As at the beginning of kappa = t^100."""
    row = torch.full((20, 20), 0.05, dtype=torch.float64)
    torch.testing.assert_close(bridge(row, EYE.bool(), 0.0, 0.0), EYE)


def test_the_posterior_is_drawn_from_where_rounding_leaves_no_noise():
    """As at the end of odds:1:10."""
    row = torch.rand(20, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(bridge(row, EYE.bool(), 1.0, 1.0), row)


def test_bridges_keep_the_marginals_of_the_path():
    """x1 is known: noise at t becomes what the path is at s."""
    x1 = EYE[[7]]
    for t, s in ((0.0, 0.4), (0.3, 0.35), (0.4, 1.0)):
        now = t * x1[0] + (1 - t) / 20
        there = now @ bridge(x1.expand(20, 20), EYE.bool(), t, s)
        torch.testing.assert_close(there, s * x1[0] + (1 - s) / 20)
