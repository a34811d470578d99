"""Student's t: how far a mean of few numbers may lie from what it estimates, by an error that these numbers tell."""

import math
from functools import cache

import numpy as np

_HIGHEST, _STEP = 13.0, 5e-4
"""The quantile of one degree of freedom is 12.71."""


@cache
def student_95(degrees: int) -> float:
    """Standard errors to each side of a mean within which its expectation lies in 95 of 100 cases, by the density of t.

    Args:
        degrees: of freedom, at least 1: of an error that n numbers tell, n - 1.
    """
    points = np.arange(0.0, _HIGHEST, _STEP)
    scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    density = np.exp(scale - (degrees + 1) / 2 * np.log1p(points**2 / degrees))
    inside = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1]) * _STEP])  # of both sides together
    return float(np.interp(0.95, inside, points))
