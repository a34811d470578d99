r"""What a distance between residues says before any protein is seen, of chances p_b(x | x1) ~ exp(-b d(x, x1)).

Falling b is noising. It is Markov, with rates R that do not know x1, where R = - P^-1 dP/db has no negative rate off
the diagonal, P the matrix of p_b(x | x1). With BLOSUM62's distance that is so at all b. Where there are negative ones
they are left out, which leaves a remainder (see metric_velocity.py), or R is 0 where that is tighter.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from d2plm_megatron.objectives.metric_velocity import even_bound, log_chances
from d2plm_megatron.proteins.distances import Distance

Result = TypeVar("Result")

FIRST_BETA = 1e-3
"""Where a likelihood begins to ask the encoder; distances have the mean 1. Before it, x_t knows next to nothing."""
LAST_UNKNOWN = 1e-5
"""Where it ends: the share of the information on x1 that x_t lacks, residues being alike in number."""
GRID = 512
NEGLIGIBLE = 1e-9
"""Rates of the noising per unit of log beta that are not told from rounding, and taken for 0."""


@dataclass(frozen=True)
class Noising:
    """On a grid of beta, even in its logarithm, from FIRST_BETA to where LAST_UNKNOWN is left to know.

    Attributes:
        distance_VV: float64.
        log_beta_G: float64.
        known_G: the information of x_t on x1, from 0 to 1.
        rates_GVV: R per unit of log beta, from the row to the column, 0 on the diagonal.
    """

    distance_VV: Tensor
    log_beta_G: Tensor
    known_G: Tensor
    rates_GVV: Tensor

    @classmethod
    def of(cls, distance: Distance, device: torch.device) -> Self:
        """What there is to know of a distance, on a device."""
        return cls(*(torch.tensor(array).to(device, non_blocking=True) for array in arrays(distance)))

    def beta_at(self, known: Tensor) -> Tensor:
        """The beta at which so much is known, of the shape of `known`."""
        cell = (torch.searchsorted(self.known_G, known) - 1).clamp(0, GRID - 2)
        part = (known - self.known_G[cell]) / (self.known_G[cell + 1] - self.known_G[cell])
        return (self.log_beta_G[cell] + part * (self.log_beta_G[cell + 1] - self.log_beta_G[cell])).exp()

    def density(self, beta: Tensor) -> Tensor:
        """d known / d beta, of `beta_at` of evenly drawn numbers the density."""
        cell, _ = self._cell(beta)
        known, log_beta = (grid[cell + 1] - grid[cell] for grid in (self.known_G, self.log_beta_G))
        return known / (log_beta * beta)

    def rates(self, beta: Tensor) -> Tensor:
        """R per unit of beta, [..., V, V]."""
        cell, part = self._cell(beta)
        return torch.lerp(self.rates_GVV[cell], self.rates_GVV[cell + 1], part[..., None, None]) / beta[..., None, None]

    def _cell(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The cell of the grid, and the place in it, from 0 to 1."""
        step = (self.log_beta_G[-1] - self.log_beta_G[0]) / (GRID - 1)
        place = ((beta.log() - self.log_beta_G[0]) / step).clamp(0, GRID - 1)
        cell = place.long().clamp(max=GRID - 2)
        return cell, (place - cell).clamp(max=1)


@cache
def arrays(distance: Distance) -> tuple[np.ndarray, ...]:
    """The attributes of Noising, computed once, with true numbers even where the tensors of a rehearsal have none."""
    return apart(lambda: tuple(values.numpy() for values in _computed(distance)))


def apart(compute: Callable[[], Result]) -> Result:
    """What is computed in a thread of its own: the modes that put stand-ins in place of tensors end with the thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(compute).result()


def _computed(distance: Distance) -> tuple[Tensor, ...]:
    distance_VV = torch.tensor(distance, dtype=torch.float64)
    log_beta_G = _log_betas(distance_VV)
    known_G = information(log_beta_G.exp(), distance_VV)
    known_G = (known_G - known_G[0]) / (known_G[-1] - known_G[0])
    rates_GVV = torch.stack([_noising_rates(beta, distance_VV) for beta in log_beta_G.exp()])
    return distance_VV, log_beta_G, known_G, rates_GVV


def information(beta: Tensor, distance_VV: Tensor) -> Tensor:
    """How much of an evenly drawn x1 is known from x_t, as a share of its entropy, at each beta."""
    log_p = log_chances(beta, distance_VV)
    log_mean = log_p.logsumexp(-2, keepdim=True) - math.log(len(distance_VV))
    return (log_p.exp() * (log_p - log_mean)).sum((-1, -2)) / (len(distance_VV) * math.log(len(distance_VV)))


def _log_betas(distance_VV: Tensor) -> Tensor:
    """From FIRST_BETA to where LAST_UNKNOWN is left, found by bisection."""
    too_far = 40.0 / float(distance_VV[distance_VV > 0].min())
    first, last = torch.tensor([FIRST_BETA, too_far], dtype=torch.float64).log()
    for _ in range(60):
        middle = (first + last) / 2
        is_early = information(middle.exp(), distance_VV) < 1 - LAST_UNKNOWN
        first, last = (middle, last) if is_early else (first, middle)
    return torch.linspace(math.log(FIRST_BETA), float(last), GRID, dtype=torch.float64)


def _noising_rates(beta: Tensor, distance_VV: Tensor) -> Tensor:
    """beta R, or 0 where the bound of evenly drawn residues is lower without."""
    found_VV = _markov_rates(beta, distance_VV)
    if (found_VV >= -NEGLIGIBLE).all():
        return found_VV.clamp(min=0)
    tried = [found_VV.clamp(min=0), torch.zeros_like(found_VV)]
    return min(tried, key=lambda rates_VV: even_bound(beta, distance_VV, rates_VV / beta))


def _markov_rates(beta: Tensor, distance_VV: Tensor) -> Tensor:
    """- beta P^-1 dP/dbeta off the diagonal, with 0 for what is negligible.

    With E = exp(-beta d) and the mean distances m of p it is beta E^-1 ((d - m) E), the last product by elements.
    """
    kernel_VV = (-beta * distance_VV).exp()
    mean_V1 = (log_chances(beta, distance_VV).exp() * distance_VV).sum(-1, keepdim=True)
    rates_VV = beta * torch.linalg.pinv(kernel_VV, hermitian=True) @ (kernel_VV * (distance_VV - mean_V1))
    return torch.where(rates_VV.abs() > NEGLIGIBLE, rates_VV, 0.0).fill_diagonal_(0.0)
