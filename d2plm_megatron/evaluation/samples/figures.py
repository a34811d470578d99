"""Pictures of a judgement, each drawn on axes that it is given, so that a page can have them, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from d2plm_megatron.evaluation.samples.judgement import Judgement
from d2plm_megatron.evaluation.samples.letters import ORDERS
from d2plm_megatron.evaluation.samples.panel import COLUMNS, NATURAL, SAMPLES, SHUFFLED
from d2plm_megatron.files import atomic
from d2plm_megatron.proteins.low_complexity import low_complexity

COLOURS = {SAMPLES: "#1f6fae", NATURAL: "#d98a1c", SHUFFLED: "#9a9a9a"}
_WIDTH, _HEIGHT = 10.8, 7.4
_STYLE: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}


def draw(judgement: Judgement, path: Path) -> None:
    """Writes all pictures of a judgement as one PNG."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        panels = (ngram_divergences, lengths, complexities, identities)
        for axes, picture in zip(figure.subplots(2, 2).flat, panels, strict=True):
            picture(axes, judgement)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(COLUMNS), frameon=False)
        with atomic(path) as (temporary,):
            figure.savefig(temporary, format="png", dpi=120)


def ngram_divergences(axes: Axes, judgement: Judgement) -> None:
    """Divergence of the n-grams of each column from natural ones, with intervals."""
    for place, name in enumerate(COLUMNS):
        found = {order: judgement.columns[name].get(f"ngram_{order}_divergence") for order in ORDERS}
        shown = {order: value for order, value in found.items() if value is not None}
        values = [value.value for value in shown.values()]
        errors = [2 * (value.error or 0.0) for value in shown.values()]
        at = [order + 0.12 * (place - 1) for order in shown]
        axes.errorbar(at, values, errors, fmt="o", markersize=5, capsize=3, color=COLOURS[name], label=name)
    axes.set(xlabel="n-grams", ylabel="divergence (nats)", xticks=ORDERS, yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")


def lengths(axes: Axes, judgement: Judgement) -> None:
    """Share of the proteins up to each length."""
    columns = judgement.panel.columns
    _steps(axes, {name: [len(sequence) for sequence in columns[name]] for name in (SAMPLES, NATURAL)})
    axes.set_xlabel("length (residues)")


def complexities(axes: Axes, judgement: Judgement) -> None:
    """Share of the proteins up to each share of residues of low complexity."""
    columns = judgement.panel.columns
    _steps(axes, {name: [100 * low_complexity(sequence).mean() for sequence in columns[name]] for name in COLUMNS})
    axes.set_xlabel("residues of low complexity (%)")


def identities(axes: Axes, judgement: Judgement) -> None:
    """Share of the proteins up to each identity to the nearest known one, or a word where MMseqs2 was not there."""
    if judgement.homology is None:
        axes.text(0.5, 0.5, "without MMseqs2", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    _steps(axes, {name: 100 * judgement.homology.identities[name] for name in COLUMNS})
    axes.set(xlabel="identity to the nearest known (%)", xlim=(-1, 101))


def _steps(axes: Axes, values: Mapping[str, Sequence[float] | np.ndarray]) -> None:
    """The cumulative distribution of each column."""
    for name, of_column in values.items():
        ordered = np.sort(of_column)
        heights = 100 * np.arange(len(ordered) + 1) / len(ordered)
        axes.step(np.concatenate([ordered[:1], ordered]), heights, where="post", color=COLOURS[name])
    axes.set(ylabel="proteins up to it (%)", ylim=(0, 101))
