"""How pictures of a report are drawn: as SVG in a data URI, sharp at any size, on a light ground and on a dark one."""

from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from d2plm_megatron.runs.charts import svg_data_uri

SAMPLES, REFERENCE, CHANCE = "#1f6fae", "#d98a1c", "#9a9a9a"
"""Colours of the generated, the real and the shuffled proteins."""

WIDTH, HEIGHT = 5.4, 3.5
"""Of most pictures, in inches."""

ON_TINT = "#1d2327"
"""Of letters on the tint of their kind, which is light on a dark screen, too."""

TEXT, AXIS, MARK, GRID = "#222222", "#777777", "#555555", "#dddddd"
_ON_DARK = {TEXT: "#d8dee2", AXIS: "#8b959c", MARK: "#aab3b9", GRID: "#333b41", SAMPLES: "#5aa9e6"}
STYLE: Any = {
    "font.size": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": TEXT,
    "text.color": TEXT,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "axes.prop_cycle": f"cycler('color', {[SAMPLES, REFERENCE, '#5b9a68', '#8a63b0']})",
    "grid.color": GRID,
    "legend.frameon": False,
    "text.parse_math": False,  # names of families are not formulas
    "svg.hashsalt": "report",
}


def drawn(draw: Callable[[Axes], object], height: float = HEIGHT) -> str:
    """One set of axes with its legend above, if it has one."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=9.5)
        return as_uri(figure)


def as_uri(figure: Figure) -> str:
    """A picture whose greys turn light where the reader's screen is dark."""
    return svg_data_uri(figure, _style())


def _style() -> str:
    """CSS for dark screens; matplotlib writes colours as attributes `style`, which alone it can tell them by."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in _ON_DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"
