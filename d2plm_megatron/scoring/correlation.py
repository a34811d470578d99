"""Spearman's rank correlation, with an interval by the bootstrap over what is correlated."""

from typing import NamedTuple

import numpy as np

from d2plm_megatron.resampling import INTERVAL, resamples


class Spearman(NamedTuple):
    """The correlation, the ends of its 95% interval, and the number of pairs; NaN where one side is constant."""

    value: float
    low: float
    high: float
    pairs: int


def spearman(predicted: np.ndarray, measured: np.ndarray) -> Spearman:
    """Of all pairs that have both values: the correlation, and its percentiles over resampled pairs."""
    whole = np.isfinite(predicted) & np.isfinite(measured)
    pairs = np.stack([predicted[whole], measured[whole]])
    number = pairs.shape[1]
    found = [of_ranks(*pairs[:, drawn]) for some in resamples(number) for drawn in some]
    told = [value for value in found if np.isfinite(value)]
    low, high = np.quantile(told, INTERVAL) if told else (np.nan, np.nan)
    return Spearman(of_ranks(*pairs), float(low), float(high), number)


def of_ranks(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of the ranks of two arrays; NaN where one has no spread."""
    first, second = (ranks(values) - (len(values) + 1) / 2 for values in (one, other))
    spread = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / spread) if spread else float("nan")


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, from 1, float64; of equal ones the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
