import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.sampling.grid import jump_chance

SHARES = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


KAPPA: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "cosine": lambda t: 1 - math.cos(math.pi / 2 * t),
    "polynomial:2": lambda t: t**2,
    "polynomial:0.5": math.sqrt,  # whose rate is infinite at t = 0
}


def chi_square(counts: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("num_steps", [1, 2, 5, 32])
@pytest.mark.parametrize("schedule", KAPPA)
def test_single_residues_are_drawn_exactly_in_any_number_of_steps(num_steps, schedule, walks, bare_pack, constant):
    tokens_T, _ = walks(bare_pack(8000, 1), constant, num_steps, schedule=schedule)
    counts = tokens_T.bincount(minlength=33).double()
    assert int(counts[4:8].sum()) == 8000
    assert chi_square(counts[4:8], 8000 * SHARES) < 16.3  # 3 degrees of freedom, p = 0.001


@pytest.mark.parametrize("schedule", [*KAPPA, "polynomial:0.01", "polynomial:100", "cubic:1.3:0.7"])
@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_what_has_not_jumped_is_what_the_path_leaves(num_steps, schedule):
    grid = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    path = MixturePath(build_schedule(schedule), SOURCES["mask"], 1e-5)
    jumps = torch.tensor([jump_chance(path, t, s) for t, s in pairwise(grid.tolist())], dtype=torch.float64)
    left = 1 - build_schedule(schedule).kappa(grid[1:])
    torch.testing.assert_close((1 - jumps).cumprod(0), left, rtol=1e-9, atol=1e-12)
    assert jumps[-1] == 1


def total_variation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().sum()) / 2


@pytest.mark.parametrize("num_steps", [1, 2, 4, 64])
@pytest.mark.parametrize("schedule", KAPPA)
def test_pairs_are_drawn_exactly_but_for_those_revealed_together(pairs, num_steps, schedule, walks, bare_pack):
    """Both are revealed in the step from t to s, and so drawn apart, with probability (kappa(s) - kappa(t))^2.

    That is the whole error: of first order in the length of a step, even where the rate is infinite.
    """
    kappa = [KAPPA[schedule](k / num_steps) for k in range(num_steps + 1)]
    apart = sum((there - here) ** 2 for here, there in pairwise(kappa))
    product = pairs.joint.sum(1)[:, None] * pairs.joint.sum(0)
    expected = apart * product + (1 - apart) * pairs.joint
    tokens_T, evaluations = walks(bare_pack(12_000, 2), lambda noisy: pairs(noisy)[0], num_steps, schedule=schedule)
    first, second = (tokens_T.view(-1, 2) - 4).T
    counts = (4 * first + second).bincount(minlength=16).double()
    assert chi_square(counts, 12_000 * expected.flatten()) < 37.7  # 15 degrees of freedom, p = 0.001
    assert evaluations == pytest.approx(2 - apart, abs=0.03)  # both at once, or one after the other
    assert total_variation(expected, pairs.joint) < 0.75 / num_steps


@pytest.mark.parametrize("schedule", [*KAPPA, "cubic:0:2"])
def test_masked_share_follows_the_path(schedule, walks, bare_pack, constant):
    seen = []

    def denoiser(noisy: NoisyBatch) -> torch.Tensor:
        seen.append((noisy.times_S[0].item(), (noisy.tokens_T == alphabet.MASK).double().mean().item()))
        return constant(noisy)

    walks(bare_pack(1, 10_000), denoiser, 8, schedule=schedule)
    assert len(seen) == 8
    kappa = build_schedule(schedule).kappa
    for number, (told, share) in enumerate(seen):
        expected = 1 - float(kappa(torch.tensor(number / 8, dtype=torch.float64)))
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 10_000) + 1e-9)
        assert float(kappa(torch.tensor(told, dtype=torch.float64))) == pytest.approx(1 - share, abs=1e-9)
