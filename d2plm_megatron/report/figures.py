"""Pictures of a run and of its samples; drawing.py says how they are drawn."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from d2plm_megatron.evaluation.samples.novelty import Family, Novelty
from d2plm_megatron.evaluation.samples.summary import Summary
from d2plm_megatron.proteins import residue_classes
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.report.drawing import CHANCE, HEIGHT, MARK, ON_TINT, REFERENCE, SAMPLES, STYLE, WIDTH, as_uri, drawn
from d2plm_megatron.runs.charts import plot_perplexity

MAX_FAMILIES = 16
WIDE_SPAN = 8
"""Lengths whose longest is more than this many times the shortest are shown on a log axis."""


def perplexity_curve(metrics: Sequence[dict[str, Any]], unigram: float | None) -> str:
    """Training and validation perplexity over steps, and that of a model without context, where it is known."""

    def draw(axes: Axes) -> None:
        plot_perplexity(axes, metrics)
        if unigram is not None:
            axes.axhline(unigram, color=MARK, linewidth=1, linestyle="--", label="without context")

    return drawn(draw)


def optimizer_curve(metrics: Sequence[dict[str, Any]]) -> str:
    """Learning rate and norm of the gradient over steps, one above the other."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        panels = zip(
            figure.subplots(2, sharex=True), ("lr", "gradient_norm"), ("learning rate", "gradient norm"), strict=True
        )
        for axes, name, label in panels:
            train = [line for line in metrics if line["kind"] == "train"]
            marker = "o" if len(train) == 1 else None
            axes.plot([line["step"] for line in train], [line[name] for line in train], marker=marker)
            axes.set(ylabel=label, ylim=(0, None))
            axes.grid(axis="y")
        axes.set_xlabel("step")
        return as_uri(figure)


def length_histogram(samples: Summary, reference: Summary | None) -> str:
    """Lengths of the samples, beside those of the reference."""
    groups = {"generated": (samples.lengths, SAMPLES)}
    if reference is not None:
        groups["reference"] = (reference.lengths, REFERENCE)
    every_length = [length for lengths, _ in groups.values() for length in lengths]
    shortest, longest = min(every_length), max(every_length)
    is_wide = longest > WIDE_SPAN * shortest
    bins = np.geomspace(shortest, longest + 1, 31) if is_wide else np.linspace(shortest - 0.5, longest + 0.5, 31)

    def draw(axes: Axes) -> None:
        for label, (lengths, colour) in groups.items():
            _histogram(axes, lengths, bins, colour, label)
        axes.set(xlabel="length (residues)", ylabel="proteins (%)")
        if is_wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.set_minor_formatter(NullFormatter())

    return drawn(draw)


def composition_bars(samples: Summary, reference: Summary | None) -> str:
    """Share of each canonical residue, by chemistry, in samples and reference."""
    order = [CANONICAL_LETTERS.index(letter) for letter in residue_classes.ORDER]
    places = np.arange(len(order))

    def draw(axes: Axes) -> None:
        if reference is None:
            axes.bar(places, 100 * samples.composition[order], 0.7, color=SAMPLES, label="generated")
        else:
            axes.bar(places - 0.2, 100 * samples.composition[order], 0.4, color=SAMPLES, label="generated")
            axes.bar(places + 0.2, 100 * reference.composition[order], 0.4, color=REFERENCE, label="reference")
        axes.set_xticks(places, list(residue_classes.ORDER), fontfamily="monospace")
        for tick, letter in zip(axes.get_xticklabels(), residue_classes.ORDER, strict=True):
            tint = residue_classes.KINDS[residue_classes.kind_of(letter) or 0].tint
            tick.set_color(ON_TINT)
            tick.set_bbox({"facecolor": tint, "edgecolor": "none", "boxstyle": "round,pad=0.15"})
        axes.tick_params(axis="x", length=0, pad=6)
        axes.set(xlabel="residue", ylabel="share (%)")

    return drawn(draw)


def identity_histogram(novelty: Novelty) -> str:
    """Identities to the nearest reference: of samples, of shuffled samples and of the references themselves."""
    groups = {
        "generated": (novelty.identities, SAMPLES),
        "shuffled": (novelty.shuffled, CHANCE),
        "references among themselves": (novelty.natural, REFERENCE),
    }

    def draw(axes: Axes) -> None:
        for label, (identities, colour) in groups.items():
            _histogram(axes, 100 * identities, np.arange(0, 101, 2.5), colour, label)
        axes.axvline(100 * novelty.chance, color=MARK, linewidth=1, linestyle="--", label="99 % of shuffled are below")
        axes.set(xlabel="identity to the nearest reference (%)", ylabel="proteins (%)", xlim=(0, 100))

    return drawn(draw)


def family_bars(families: Sequence[Family], unrecognised: int) -> str:
    """Recognised samples of each family, the first 16, and the number of samples that are of none."""
    shown, others = families[:MAX_FAMILIES], families[MAX_FAMILIES:]
    names = [family.name if len(family.name) <= 22 else f"{family.name[:10]}…{family.name[-11:]}" for family in shown]
    if others:
        names.append(f"{len(others):,} others")
        others = [Family("", sum(family.samples for family in others), sum(family.expected for family in others))]
    rows = [*shown, *others]
    places = np.arange(len(rows))

    def draw(axes: Axes) -> None:
        axes.barh(places, [row.samples for row in rows], 0.65, color=SAMPLES, label="generated")
        marks: Any = {"color": REFERENCE, "markersize": 11, "markeredgewidth": 2.5, "label": "expected from reference"}
        axes.plot([row.expected for row in rows], places, "|", **marks)
        axes.barh([len(rows)], [unrecognised], 0.65, color=CHANCE)
        axes.set_xlim(left=0)
        axes.set_yticks([*places, len(rows)], [*names, "none: within chance"], fontsize=9.5)
        axes.set(xlabel="samples", ylim=(len(rows) + 0.6, -0.6))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return drawn(draw, max(HEIGHT, 0.9 + 0.23 * (len(rows) + 1)))


def _histogram(axes: Axes, values: Sequence[float] | np.ndarray, bins: np.ndarray, colour: str, label: str) -> None:
    weights = np.full(len(values), 100 / len(values))
    axes.hist(values, bins.tolist(), weights=weights, histtype="stepfilled", color=colour, alpha=0.35)
    axes.hist(values, bins.tolist(), weights=weights, histtype="step", color=colour, linewidth=1.4, label=label)
