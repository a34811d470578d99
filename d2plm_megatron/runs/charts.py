"""What a run looks like on axes."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

TREND_POINTS = 20
"""A trend is drawn from this many progress reports on, and is the mean of a twentieth of them."""
WIDE_SPAN = 4
"""Perplexities whose highest is more than this many times the lowest are labelled 1, 2, 5, 10, ..., others evenly."""


def plot_perplexity(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    """Training and validation perplexity over steps, from the lines of a metrics.jsonl; the perplexity axis is log."""
    train = [line for line in lines if line["kind"] == "train"]
    steps, perplexities = ([line[name] for line in train] for name in ("step", "perplexity"))
    has_trend = len(train) >= TREND_POINTS
    name, marker = None if has_trend else "training", "o" if len(train) == 1 else None
    axes.plot(steps, perplexities, color="C0", alpha=0.25 if has_trend else 1, label=name, marker=marker)
    if has_trend:
        axes.plot(steps, trend(perplexities), color="C0", linewidth=1.8, label="training, smoothed")
    held_out = [line for line in lines if line["kind"] == "validation"]
    names = sorted({key for line in held_out for key in line if key.endswith("_perplexity")})
    for number, name in enumerate(names):
        points = [(line["step"], line[name]) for line in held_out if name in line]
        label = f"validation, {name.removesuffix('_perplexity').replace('elbo', 'ELBO')}"
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label, color=f"C{1 + number}")
    axes.set(xlabel="step", ylabel="perplexity", yscale="log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > WIDE_SPAN * low else MaxNLocator(5))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")


def trend(perplexities: Sequence[float]) -> np.ndarray:
    """Each perplexity as the geometric mean of those around it, a twentieth of them, fewer at both ends."""
    reach = max(1, len(perplexities) // TREND_POINTS // 2)
    logs = np.log(np.asarray(perplexities, dtype=np.float64))
    window = np.ones(2 * reach + 1)
    sums, counts = (np.convolve(values, window, mode="same") for values in (logs, np.ones(len(logs))))
    return np.exp(sums / counts)


def svg_data_uri(figure: Figure, style: str = "") -> str:
    """A picture as SVG in a data URI: sharp at any size, and nothing to fetch.

    Args:
        figure: the picture.
        style: CSS that goes into it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    head, tag, rest = buffer.getvalue().partition("<defs>")
    text = f"{head}<style>{style}</style>{tag}{rest}" if style else buffer.getvalue()
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")
