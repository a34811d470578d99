"""The times of a walk, and the chance that a residue jumps between two of them."""

import torch
from torch import Tensor

from d2plm_megatron.objectives.path import Path


def times(path: Path, num_steps: int, begin: float, even_in: str) -> Tensor:
    """The ends of all steps from `begin` to 1, [num_steps + 1], float64, even in t or in kappa."""
    if even_in == "t":
        return torch.linspace(begin, 1, num_steps + 1, dtype=torch.float64)
    first = float(path.schedule.kappa(torch.tensor(begin, dtype=torch.float64)))
    found = path.schedule.inverse(torch.linspace(first, 1, num_steps + 1, dtype=torch.float64))
    found[0], found[-1] = begin, 1.0  # whatever rounding makes of them
    return found


def kappa_at(path: Path, t: float) -> float:
    """The share of data at a time."""
    return 1.0 if t == 1 else float(path.schedule.kappa(torch.tensor(t, dtype=torch.float64)))


def jump_chance(path: Path, t: float, s: float) -> float:
    """That noise at t is data at s: (kappa_s - kappa_t) / (1 - kappa_t), the integral of the rate kappa' / (1 - kappa).

    It is exact whatever the schedule, and 1 for the step to s = 1.
    """
    if s == 1:
        return 1.0  # whatever rounding makes of kappa
    here, there = kappa_at(path, t), kappa_at(path, s)
    return (there - here) / (1 - here)
