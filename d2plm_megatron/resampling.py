"""Resamples of proteins, or of whatever else was drawn one by one: the bootstrap (Efron 1979), always with one seed."""

from collections.abc import Iterator

import numpy as np

INTERVAL = (0.025, 0.975)
"""The quantiles between which an interval of 95% lies."""

RESAMPLES = 200
"""Where nothing else is said: the error that they tell is within 5% of that of infinitely many."""

_SEED = 0
_MOST_NUMBERS = 1 << 20


def resamples(number: int, times: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Yields resamples, some at a time: which of so many were drawn, with replacement, int64 [some, number].

    They are always the same, whatever comes after them.
    """
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _MOST_NUMBERS // max(1, number))
    for done in range(0, times if number else 0, at_once):
        yield generator.integers(number, size=(min(at_once, times - done), number))


def counts(number: int, times: int = RESAMPLES) -> np.ndarray:
    """The same resamples: how often each was drawn, int64 [times, number]."""
    return np.array([np.bincount(drawn, minlength=number) for some in resamples(number, times) for drawn in some])
