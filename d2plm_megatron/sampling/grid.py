"""The times of a walk, and the chance that a residue jumps between two of them."""

import torch
from torch import Tensor

from d2plm_megatron.config import at_least
from d2plm_megatron.objectives.path import Path


def times(path: Path, num_steps: int, begin: float, even_in: str) -> Tensor:
    """The ends of all steps from `begin` to 1, [num_steps + 1], float64, even in t or in kappa. Raises ValueError."""
    at_least("num_steps", num_steps, 1)
    if not 0 <= begin < 1:
        raise ValueError(f"begin={begin}: must be at least 0, which is noise, and below 1, which is data")
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

    It is exact whatever the schedule, and 1 for the step to s = 1, or where no noise is left already.
    """
    here, there = kappa_at(path, t), kappa_at(path, s)
    return (there - here) / (1 - here) if s < 1 and here < 1 else 1.0


def kept_by_noising(kappa_t: float, kappa_s: float) -> float:
    """That a residue at s, where the share of data is kappa_s, is kept by noising back to t; 1 where all is noise."""
    return kappa_t / kappa_s if kappa_s else 1.0
