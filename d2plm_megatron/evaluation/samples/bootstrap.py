"""How far a number of some proteins would move had other proteins been drawn: the bootstrap (Efron 1979) over proteins.

What is estimated from few proteins is biased, as a divergence of n-grams is, and a resample of them is more so. So an
interval is as wide as the replicates are about their mean, and lies about the value itself. The bias stays: it is the
same for any proteins of that number, which is why natural ones stand beside.
"""

from dataclasses import dataclass

import numpy as np

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


def interval(value: float, replicates: np.ndarray) -> Interval:
    """Of a value and of what resamples of at least two proteins give in its place.

    Where none of these is negative, as of a share or a distance, the interval does not go below 0.
    """
    if np.ptp(replicates) == 0:
        return Interval(float(value), float(value), float(value), 0.0)
    low, high = value + np.quantile(replicates, INTERVAL) - replicates.mean()
    if replicates.min() >= 0:
        low = max(0.0, low)
    return Interval(float(value), float(low), float(high), float(replicates.std(ddof=1)))


def of_ratio(numerators: np.ndarray, denominators: np.ndarray | None = None) -> Interval:
    """The ratio of two sums over proteins, or without the second the mean over them; at least one protein."""
    below = np.ones(len(numerators)) if denominators is None else denominators
    value = float(numerators.sum() / below.sum())
    if len(numerators) < 2:
        return Interval(value)
    drawn = counts(len(numerators))
    return interval(value, (drawn @ numerators) / (drawn @ below))
