"""How the share of data grows along the path: kappa(t), from 0 at t = 0 (noise) to 1 at t = 1 (data).

The path is the convex combination (1 - kappa) noise + kappa data (arXiv:2407.15595): kappa is all there is to choose.
Masking rates of the diffusion literature are 1 - kappa, with time running the other way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from d2plm_megatron import config


class Schedule(Protocol):
    """kappa, its derivative and its inverse. All map tensors of any shape, float64 for the values to be exact."""

    def kappa(self, t: Tensor) -> Tensor:
        """Share of data at time t."""
        ...

    def derivative(self, t: Tensor) -> Tensor:
        """d kappa / d t."""
        ...

    def inverse(self, kappa: Tensor) -> Tensor:
        """The t at which the share of data is kappa."""
        ...


@dataclass(frozen=True)
class Polynomial:
    """kappa = t^n; n = 1 is the linear schedule."""

    exponent: float = 1.0

    def kappa(self, t: Tensor) -> Tensor:
        """t^n."""
        return t**self.exponent

    def derivative(self, t: Tensor) -> Tensor:
        """n t^(n - 1)."""
        return self.exponent * t ** (self.exponent - 1)

    def inverse(self, kappa: Tensor) -> Tensor:
        """kappa^(1/n)."""
        return kappa ** (1 / self.exponent)


@dataclass(frozen=True)
class Cosine:
    """kappa = 1 - cos(pi t / 2): slow at first, as in MDLM's cosine masking rate (arXiv:2406.07524)."""

    def kappa(self, t: Tensor) -> Tensor:
        """1 - cos(pi t / 2)."""
        return 1 - torch.cos(math.pi / 2 * t)

    def derivative(self, t: Tensor) -> Tensor:
        """(pi / 2) sin(pi t / 2)."""
        return math.pi / 2 * torch.sin(math.pi / 2 * t)

    def inverse(self, kappa: Tensor) -> Tensor:
        """(2 / pi) arccos(1 - kappa)."""
        return 2 / math.pi * torch.arccos(1 - kappa)


@dataclass(frozen=True)
class Cubic:
    """kappa = -2t^3 + 3t^2 + a (t^3 - 2t^2 + t) + b (t^3 - t^2), with slopes a at 0 and b at 1 (arXiv:2407.15595)."""

    a: float
    b: float

    def kappa(self, t: Tensor) -> Tensor:
        """The cubic itself."""
        return -2 * t**3 + 3 * t**2 + self.a * (t**3 - 2 * t**2 + t) + self.b * (t**3 - t**2)

    def derivative(self, t: Tensor) -> Tensor:
        """Its derivative."""
        return -6 * t**2 + 6 * t + self.a * (3 * t**2 - 4 * t + 1) + self.b * (3 * t**2 - 2 * t)

    def inverse(self, kappa: Tensor) -> Tensor:
        """By bisection, to the last bit of float64: kappa rises everywhere."""
        kappa = kappa.double()
        low, high = torch.zeros_like(kappa), torch.ones_like(kappa)
        for _ in range(54):
            middle = (low + high) / 2
            below = self.kappa(middle) < kappa
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class Odds:
    """The odds of data, kappa / (1 - kappa), are c (t / (1 - t))^a: beta of metric-induced paths (arXiv:2412.03487)."""

    c: float
    a: float

    def kappa(self, t: Tensor) -> Tensor:
        """c t^a / (c t^a + (1 - t)^a)."""
        data = self.c * t**self.a
        return data / (data + (1 - t) ** self.a)

    def derivative(self, t: Tensor) -> Tensor:
        """c a (t (1 - t))^(a - 1) / (c t^a + (1 - t)^a)^2."""
        return self.c * self.a * (t * (1 - t)) ** (self.a - 1) / (self.c * t**self.a + (1 - t) ** self.a) ** 2

    def inverse(self, kappa: Tensor) -> Tensor:
        """The same with 1/a and c^(-1/a), as t / (1 - t) is (odds / c)^(1/a)."""
        return Odds(self.c ** (-1 / self.a), 1 / self.a).kappa(kappa)


KINDS: dict[str, Callable[..., Schedule]] = {
    "linear": Polynomial,
    "polynomial": Polynomial,
    "cosine": Cosine,
    "cubic": Cubic,
    "odds": Odds,
}


def build_schedule(text: str) -> Schedule:
    """The schedule that a recipe names. Raises what config.parse_schedule raises."""
    kind, numbers = config.parse_schedule(text)
    return KINDS[kind](*numbers)
