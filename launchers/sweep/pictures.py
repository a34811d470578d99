"""The pictures of a sweep: the validation curves over one another, and how good each value was."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from d2plm_megatron.runs.overlay import WIDE, LoggedRun, overlay

from .outcomes import Outcome, ranked

MOST_CURVES = 12
"""The best ones are drawn: more could not be told apart."""
MOST_LINES = 8
"""Lines of a panel that are named."""

Group = tuple[tuple[str, str], ...]
"""The values of all other swept keys, which the points of a line share."""


def curves(outcomes: Sequence[Outcome], likelihood: str) -> Figure:
    """Validation perplexity over steps, a line per point, of the 12 best at most."""
    drawn = [outcome for outcome in ranked(outcomes, likelihood) if outcome.best(likelihood)][:MOST_CURVES]
    runs = [LoggedRun(outcome.name, outcome.lines) for outcome in drawn]
    return overlay(runs, [f"validation/{likelihood}_perplexity"])


def values(outcomes: Sequence[Outcome], likelihood: str) -> Figure | None:
    """A panel for each swept key: the lowest validation perplexity over its values; None where none has two of them.

    Points that share the values of all other keys are joined. Numbers stand in their places, on a log axis where they
    are wide apart; words beside one another.
    """
    found = {outcome.name: best[0] for outcome in outcomes if (best := outcome.best(likelihood))}
    scored = [outcome for outcome in outcomes if outcome.name in found]
    keys = list(dict.fromkeys(key for outcome in scored for key in outcome.values))
    keys = [key for key in keys if len({outcome.values.get(key) for outcome in scored} - {None}) > 1]
    if not keys:
        return None
    with matplotlib.rc_context({"text.parse_math": False}):  # values are not formulas
        figure = Figure(figsize=(8, 3.6 * len(keys)), layout="constrained")
        for axes, key in zip(figure.subplots(len(keys), squeeze=False)[:, 0], keys, strict=True):
            _draw(axes, key, [outcome for outcome in scored if key in outcome.values], found)
            axes.set(xlabel=key, ylabel=f"lowest validation perplexity, {likelihood}")
            axes.grid(alpha=0.3)
    return figure


def stacked(figures: Sequence[Figure]) -> np.ndarray:
    """Pictures below one another, as pixels [height, width, 4]; narrower ones are filled up with white."""
    pixels = []
    for figure in figures:
        figure.set_dpi(120)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels.append(np.asarray(canvas.buffer_rgba()))
    width = max(picture.shape[1] for picture in pixels)
    margins = [((0, 0), (0, width - picture.shape[1]), (0, 0)) for picture in pixels]
    return np.vstack([np.pad(p, m, constant_values=255) for p, m in zip(pixels, margins, strict=True)])


def _draw(axes: Axes, key: str, outcomes: Sequence[Outcome], perplexities: Mapping[str, float]) -> None:
    texts = list(dict.fromkeys(outcome.values[key] for outcome in outcomes))
    numbers = {text: number for text in texts for number in _number(text)}
    is_numeric = len(numbers) == len(texts)
    places = numbers if is_numeric else {text: float(place) for place, text in enumerate(texts)}
    groups = _groups(key, outcomes)
    for group, members in groups.items():
        line = sorted((places[member.values[key]], perplexities[member.name]) for member in members)
        label = ", ".join(f"{other.rpartition('.')[2]}={value}" for other, value in group)
        named = label if label and len(groups) <= MOST_LINES else None
        axes.plot(*zip(*line, strict=True), marker="o", linestyle="-" if is_numeric else "", label=named)
    if is_numeric and min(places.values()) > 0 and max(places.values()) >= WIDE * min(places.values()):
        axes.set_xscale("log")
    if not is_numeric:
        axes.set_xticks(list(places.values()), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize="small")


def _groups(key: str, outcomes: Sequence[Outcome]) -> dict[Group, list[Outcome]]:
    groups: dict[Group, list[Outcome]] = {}
    for outcome in outcomes:
        others = tuple((other, value) for other, value in outcome.values.items() if other != key)
        groups.setdefault(others, []).append(outcome)
    return groups


def _number(text: str) -> Iterator[float]:
    try:
        number = float(text)
    except ValueError:
        return
    if isfinite(number):
        yield number
