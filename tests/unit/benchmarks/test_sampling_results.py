"""What samplers have made is told by its perplexity only where it is no repeat."""

from pathlib import Path

import matplotlib.axes
import numpy as np
import pytest

from benchmarks.sampling_results import Measured, as_table, draw
from d2plm_megatron.sampling.config import Samples

VARIED = "ACDEFGHIKLMNPQRSTVWY" * 3


def measured(name: str, steps: int, protein: str, seconds: float) -> Measured:
    return Measured(name, steps, Samples([protein, protein], float(steps), seconds), np.log([10.0, 20.0]), 0.25)


def test_the_last_row_is_the_measure_of_speed() -> None:
    table = as_table([measured("a", 4, VARIED, 2.0), measured("plain", 8, "G" * 60, 7.0)], "title")
    cells = [list(column.cells) for column in table.columns]
    error = np.sqrt(200) * np.log(2) / 2  # of two values the standard error is half their distance
    assert cells[4] == ["3.5 x", "1.0 x"] and cells[5] == [f"{np.sqrt(200):.2f} +- {error:.2f}"] * 2
    assert cells[6] == [f"{np.log(20):.3f}", "0.000"] and cells[7] == ["0.2500"] * 2


def test_repeats_are_told_and_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[float]] = []
    told: list[str] = []

    def errorbar(axes, evaluations, perplexities, errors, **style) -> None:
        if any(errors) or not evaluations:
            drawn.append(evaluations)

    def text(axes, x, y, words, **style) -> None:
        told.append(words)

    monkeypatch.setattr(matplotlib.axes.Axes, "errorbar", errorbar)
    monkeypatch.setattr(matplotlib.axes.Axes, "text", text)
    found = [measured("good", steps, VARIED, 1.0) for steps in (8, 32)] + [measured("bad", 8, "G" * 60, 1.0)]
    draw(found, tmp_path / "x.png")
    assert drawn.count([8.0, 32.0]) == 1 and not any(8.0 in line and len(line) == 1 for line in drawn)
    assert told == ["repeats:\nentropy 0.00 to 0.00"]
    assert (tmp_path / "x.png").stat().st_size > 1000
