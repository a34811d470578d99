"""Runs over one another: a panel per number of their logs, a line per run, and a table of where each of them ended."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from d2plm_megatron.config.checks import nearest, one_of
from d2plm_megatron.files import atomic, write_text
from d2plm_megatron.runs.charts import TREND_POINTS, svg_data_uri, trend
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics

AXES = {"steps": "step", "tokens": "tokens", "hours": "hours of training"}
"""What can be on the horizontal axis, and what it is called there.

Hours are those of the steps themselves: a run that waited in a queue, or was validated, looks no slower for it.
"""
LOG_SCALED = ("perplexity", "tokens")
WIDE = 10
"""Numbers whose highest is more than this many times the lowest are drawn on a log axis, if they are of LOG_SCALED."""
LEGEND_CHARACTERS = 105
"""That stand side by side above a picture."""
SUFFIXES = (".html", ".png")


@dataclass(frozen=True)
class LoggedRun:
    """A run by its log: its name in the picture, and the lines of its metrics.jsonl."""

    name: str
    lines: tuple[dict[str, Any], ...]


def read_runs(folders: Sequence[Path], say: Callable[[str], object]) -> list[LoggedRun]:
    """The runs of these folders that have a log, each by the shortest name that no other has.

    `say` is told, a line each, of runs without a log and of damaged lines; both are left out. Raises ValueError when
    nothing is left.
    """
    found = {folder: tuple(read_metrics(RunFolder(folder).metrics, say)) for folder in dict.fromkeys(folders)}
    for folder, lines in found.items():
        if not lines:
            say(f"{RunFolder(folder).metrics}: no log of a run there, or nothing in it; it is left out")
    logged = [folder for folder, lines in found.items() if lines]
    if not logged:
        raise ValueError(f"{', '.join(map(str, folders))}: no run with a log; give folders of runs")
    names = [folder.resolve().name for folder in logged]
    return [
        LoggedRun(name if names.count(name) == 1 else str(folder), found[folder])
        for name, folder in zip(names, logged, strict=True)
    ]


def last_values(run: LoggedRun, metrics: Sequence[str]) -> dict[str, float]:
    """The last number of each series of a run, by KIND/NAME, after its last step."""
    series = {name: points for metric in metrics for name, points in _series(run, metric, "steps").items()}
    return {"step": max(line["step"] for line in run.lines)} | {name: y[-1] for name, (_, y) in series.items()}


def overlay(runs: Sequence[LoggedRun], metrics: Sequence[str] = ("perplexity",), x: str = "steps") -> Figure:
    """Draws the runs over one another.

    Args:
        runs: one line each and, of validations, one with marks in the same colour.
        metrics: a panel each: KIND/NAME, such as train/lr, or the last word of several names, such as perplexity, which
            is that of training and those of validation.
        x: what is on the horizontal axis, of AXES.

    Raises ValueError for a number that no run has, with the nearest that one has.
    """
    one_of("--x", x, tuple(AXES))
    _check(runs, metrics)
    with matplotlib.rc_context({"text.parse_math": False}):  # names of runs are not formulas
        figure = Figure(figsize=(8, 0.9 + 3.3 * len(metrics)), layout="constrained")
        panels = figure.subplots(len(metrics), squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            for number, run in enumerate(runs):
                for name, points in _series(run, metric, x).items():
                    _draw(axes, run.name, name, points, f"C{number % 10}")
            axes.set(ylabel=metric.replace("_", " "), xlabel=AXES[x])
            axes.grid(alpha=0.3)
            _scale(axes, metric)
        lines = {label: line for line, label in zip(*panels[0].get_legend_handles_labels(), strict=True)}
        columns = max(1, LEGEND_CHARACTERS // max(len(label) + 8 for label in lines))  # 8: the line beside it
        figure.legend(lines.values(), lines.keys(), loc="outside upper left", ncols=min(3, columns), fontsize="small")
    return figure


def write(figure: Figure, runs: Sequence[LoggedRun], metrics: Sequence[str], output: Path) -> None:
    """Writes the picture as PNG or, with the table of last values, as an HTML file that needs nothing else."""
    if output.suffix == ".png":
        with atomic(output) as (temporary,):
            figure.savefig(temporary, format="png", dpi=120)
        return
    environment = Environment(
        loader=PackageLoader("d2plm_megatron", "runs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    values = {run.name: last_values(run, metrics) for run in runs}
    names = list(dict.fromkeys(name for of_run in values.values() for name in of_run))
    page = environment.get_template("overlay.html").render(picture=svg_data_uri(figure), names=names, values=values)
    write_text(output, page)


def _check(runs: Sequence[LoggedRun], metrics: Iterable[str]) -> None:
    known = {f"{line['kind']}/{key}" for run in runs for line in run.lines for key in _numbers(line)}
    for metric in metrics:
        if not any(_is_meant(name, metric) for name in known):
            words = sorted(known | {name.partition("/")[2] for name in known})
            near = nearest(metric, words)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(known))}"
            raise ValueError(f"--metric {metric}: no run has logged it; {hint}")


def _is_meant(name: str, metric: str) -> bool:
    return metric in (name, name.partition("/")[2]) or name.endswith(f"_{metric}")


def _numbers(line: dict[str, Any]) -> list[str]:
    return [key for key, value in line.items() if key != "step" and type(value) in (int, float)]


def _series(run: LoggedRun, metric: str, x: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(places, numbers) of each KIND/NAME of a run that is meant."""
    names = {f"{line['kind']}/{key}": None for line in run.lines for key in _numbers(line)}
    series = {}
    for name in names:
        if _is_meant(name, metric):
            kind, _, key = name.partition("/")
            lines = [line for line in run.lines if line["kind"] == kind and key in line]
            steps = np.array([line["step"] for line in lines], dtype=np.float64)
            series[name] = _places(run, steps, x), np.array([line[key] for line in lines], dtype=np.float64)
    return series


def _places(run: LoggedRun, steps: np.ndarray, x: str) -> np.ndarray:
    """Where steps lie on an axis; between two progress reports in proportion."""
    if x == "steps":
        return steps
    train = [line for line in run.lines if line["kind"] == "train"]
    known = np.array([0, *(line["step"] for line in train)], dtype=np.float64)
    if x == "tokens":
        found = np.array([0, *(line["tokens"] for line in train)], dtype=np.float64)
    else:
        rates = np.array([line.get("seconds_per_step", math.nan) for line in train], dtype=np.float64)
        found = np.concatenate([[0], np.cumsum(np.diff(known) * rates)]) / 3600
    return np.interp(steps, known, found)


def _draw(axes: Axes, run: str, name: str, points: tuple[np.ndarray, np.ndarray], colour: str) -> None:
    places, numbers = points
    if name.startswith("validation/"):
        axes.plot(places, numbers, color=colour, marker="o", markersize=3, linestyle="--", label=f"{run}, validation")
        return
    is_smooth = name.endswith("perplexity") and len(numbers) >= TREND_POINTS and bool(np.isfinite(numbers).all())
    axes.plot(places, numbers, color=colour, alpha=0.2 if is_smooth else 1, label=None if is_smooth else run)
    if is_smooth:
        axes.plot(places, trend(numbers.tolist()), color=colour, linewidth=1.8, label=run)


def _scale(axes: Axes, metric: str) -> None:
    found = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    positive = found[np.isfinite(found) & (found > 0)]
    if metric.endswith(LOG_SCALED) and positive.size and positive.max() > WIDE * positive.min():
        axes.set_yscale("log")
