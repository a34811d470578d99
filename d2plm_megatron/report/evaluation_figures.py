"""Pictures of evaluations, of a judgement and of mutants; drawing.py says how they are drawn."""

import base64
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from d2plm_megatron.evaluation.charts import draw_by_confidence, draw_by_length, draw_by_noise
from d2plm_megatron.report.drawing import STYLE, as_uri, drawn
from d2plm_megatron.report.effects import HeatMap
from d2plm_megatron.report.evaluation_record import Evaluation
from d2plm_megatron.scoring.heat_map import draw as draw_heat_map

_LONGEST_NAME = 36
_POSITIONS_IN_A_LINE = 60
"""Of a heat map, so that its letters can be read on the page."""
MOST_POSITIONS = 1000
"""Of a heat map, of which more could not be told apart; the CSV has all."""


def of_evaluations(models: Sequence[tuple[str, Evaluation]]) -> dict[str, str]:
    """Perplexity by noise and by length, calibration, and of one model the residues; none where numbers are missing."""
    if not all(found.has_pictures for _, found in models):
        return {}
    named = [(_clipped(name), found.numbers) for name, found in models]
    pictures = {
        "by_noise": drawn(lambda axes: draw_by_noise(axes, named)),
        "by_length": drawn(lambda axes: draw_by_length(axes, named)),
        "calibration": drawn(lambda axes: draw_by_confidence(axes, named)),
    }
    if len(models) == 1:
        pictures["by_residue"] = drawn(lambda axes: _by_residue(axes, models[0][1]))
    return pictures


def of_heat_map(found: HeatMap) -> str:
    """All single mutants, the first 1,000 positions."""
    letters, odds = found.wild_type[:MOST_POSITIONS], found.odds[:MOST_POSITIONS]
    with matplotlib.rc_context(STYLE):
        return as_uri(draw_heat_map(letters, odds, found.first - 1, "", _POSITIONS_IN_A_LINE))


def embedded(picture: bytes) -> str:
    """A PNG that is there already."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _by_residue(axes: Axes, evaluation: Evaluation) -> None:
    rows = sorted(evaluation.numbers["by_residue"].items(), key=lambda item: item[1]["perplexity"])
    places = np.arange(len(rows))
    axes.bar(places, [row["perplexity"] for _, row in rows], 0.7)
    axes.set_xticks(places, [letter for letter, _ in rows], fontfamily="monospace")
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="residue, the easiest first", ylabel="perplexity of a guess")


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
