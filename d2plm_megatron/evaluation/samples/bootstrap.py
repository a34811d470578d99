"""How far a number of some proteins would move had other proteins been drawn: the bootstrap (Efron 1979) over proteins.

What is estimated from few proteins is biased, as a divergence of n-grams is, and a resample of them is more so. So an
interval is as wide as the replicates are about their mean, and lies about the value itself. The bias stays: it is the
same for any proteins of that number, which is why natural ones stand beside. Replicates of n proteins are closer
together than values of other proteins, by sqrt((n - 1) / n), and the error that few proteins tell is itself uncertain:
intervals are as much wider as Student's t is than a normal distribution.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from d2plm_megatron.evaluation.student import student_95
from d2plm_megatron.resampling import INTERVAL, counts


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval over proteins.

    Attributes:
        value: of the proteins at hand.
        low: the interval's lower end; None where there is no interval.
        high: its upper end.
        error: the standard error.
    """

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """Value, ends and standard error."""
        return {"value": self.value, "low": self.low, "high": self.high, "standard_error": self.error}


def interval(value: float, replicates: np.ndarray, proteins: int) -> Interval:
    """Of a value of so many proteins, and of what resamples of them give in its place; of one protein there is none.

    Where no replicate is negative, as of a share or a distance, the interval does not go below 0.
    """
    if proteins < 2:
        return Interval(float(value))
    if np.ptp(replicates) == 0:
        return Interval(float(value), float(value), float(value), 0.0)
    closer = math.sqrt(proteins / (proteins - 1))
    ends = closer * reach(proteins) * (np.quantile(replicates, INTERVAL) - replicates.mean())
    low, high = (value + ends).tolist()
    if replicates.min() >= 0:
        low = max(0.0, low)
    return Interval(float(value), low, high, closer * float(replicates.std(ddof=1)))


def reach(proteins: int) -> float:
    """How much farther than by a normal distribution a value may be off, counted in errors that two or more tell."""
    return student_95(proteins - 1) / NormalDist().inv_cdf(INTERVAL[1])


def of_ratio(numerators: np.ndarray, denominators: np.ndarray | None = None) -> Interval:
    """The ratio of two sums over proteins, or without the second the mean over them; at least one protein."""
    below = np.ones(len(numerators)) if denominators is None else denominators
    value = float(numerators.sum() / below.sum())
    drawn = counts(len(numerators))
    drawn = drawn[drawn @ below > 0]
    return interval(value, (drawn @ numerators) / (drawn @ below), len(numerators))
