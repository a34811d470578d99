import numpy as np
import pytest

from d2plm_megatron import resampling
from d2plm_megatron.resampling import counts, resamples


def test_resamples_are_always_the_same_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(7, 50)))
    assert whole.shape == (50, 7) and set(whole.ravel()) == set(range(7))
    for at_once in (1, 20, 350):
        monkeypatch.setattr(resampling, "_MOST_NUMBERS", at_once)
        parts = list(resamples(7, 50))
        assert max(map(np.size, parts)) <= max(at_once, 7) and np.array_equal(np.concatenate(parts), whole)
    assert list(resamples(0)) == []


def test_counts_are_of_the_same_resamples() -> None:
    for drawn, times in zip(np.concatenate(list(resamples(9))), counts(9), strict=True):
        assert np.array_equal(np.repeat(np.arange(9), times), np.sort(drawn))


def test_a_mean_has_the_error_of_theory() -> None:
    values = np.random.default_rng(1).normal(size=300)
    means = np.concatenate([values[drawn].mean(1) for drawn in resamples(300, 2000)])
    assert means.std() == pytest.approx(values.std() / np.sqrt(300), rel=0.05)
