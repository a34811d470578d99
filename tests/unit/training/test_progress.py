"""Early stopping and what is written of it."""

import math

import pytest

from d2plm_megatron.config import Validation
from d2plm_megatron.data.stream import Position
from d2plm_megatron.training.progress import Progress


def test_stops_after_patience_evaluations_without_improvement() -> None:
    options, progress = Validation(patience=2, min_delta=0.01), Progress()
    heard = []
    for loss in (3.0, 2.5, 2.495, 2.6, 1.0):
        if progress.should_stop(options):
            break
        heard.append((loss, progress.is_better(loss, options)))
    assert heard == [(3.0, True), (2.5, True), (2.495, False), (2.6, False)]
    assert progress.best_loss == 2.5


def test_small_gains_add_up_to_an_improvement() -> None:
    options, progress = Validation(patience=5, min_delta=0.1), Progress()
    better = [progress.is_better(loss, options) for loss in (2.0, 1.95, 1.91, 1.89)]
    assert better == [True, False, False, True]


def test_never_stops_without_patience() -> None:
    progress = Progress()
    for _ in range(100):
        progress.is_better(1.0, Validation())
    assert not progress.should_stop(Validation())


def test_loss_that_is_not_a_number_is_no_improvement() -> None:
    progress = Progress()
    assert progress.is_better(2.0, Validation())
    assert not progress.is_better(math.nan, Validation())
    assert progress.best_loss == 2.0


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_does_not_stay_the_best(loss: float) -> None:
    progress, options = Progress(), Validation(patience=2, min_delta=0.5)
    assert not progress.is_better(loss, options)
    assert (progress.best_loss, progress.validations_since_best) == (math.inf, 1)
    assert progress.is_better(2.0, options)
    assert not progress.is_better(1.5, options)  # the threshold itself is no improvement
    assert (progress.best_loss, progress.validations_since_best) == (2.0, 1)


def test_a_run_begins_with_nothing_done() -> None:
    assert Progress().to_json() == {
        "step": 0, "position": {"epoch": 0, "window": 0, "pack": 0}, "num_updates": 0, "skipped_in_a_row": 0,
        "num_proteins": 0, "num_tokens": 0, "best_loss": None, "validations_since_best": 0,
    }  # fmt: skip


def test_json_round_trip() -> None:
    for best in (math.inf, 2.5):
        progress = Progress(step=7, position=Position(1, 2, 3), num_updates=6, best_loss=best)
        assert Progress.from_json(progress.to_json()) == progress
