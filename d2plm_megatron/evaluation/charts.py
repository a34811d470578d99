"""What evaluations look like on axes: perplexity by noise and by length, and how far confidence can be believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from d2plm_megatron.files import atomic

_GREY: Any = {"color": "#555555", "linewidth": 1, "linestyle": "--"}
Named = Sequence[tuple[str, dict[str, Any]]]
"""Models by name, each with what `Evaluation.numbers` holds."""


def draw_evaluations(models: Named, path: Path) -> None:
    """Draws one model, or several over one another, as PNG."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    by_noise, by_confidence, by_length = figure.subplots(1, 3)
    draw_by_noise(by_noise, models)
    draw_by_confidence(by_confidence, models)
    errors = ", ".join(f"{numbers['calibration']['error']:.3f}" for _, numbers in models)
    by_confidence.set_title(f"expected calibration error {errors}; area: share of guesses", fontsize="medium")
    draw_by_length(by_length, models)
    legend = figure.legend(*by_noise.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have dollars
    with atomic(path) as (temporary,):
        figure.savefig(temporary, format="png", dpi=120)


def draw_by_noise(axes: Axes, models: Named) -> None:
    """Perplexity of a guess over the share of the residues that are noise, beside that without context."""
    for name, numbers in models:
        rows = numbers["by_noise"]
        middles = [(row["from"] + row["to"]) / 2 for row in rows]
        axes.plot(middles, [row["perplexity"] for row in rows], marker="o", label=name)
    axes.axhline(models[0][1]["unigram_perplexity"], **_GREY, label="without context")
    kinds = " or ".join(sorted({numbers["noise_is"] for _, numbers in models}))
    axes.set(xlabel=f"share of residues that are {kinds}", xlim=(0, 1), ylabel="perplexity of a guess")
    axes.grid(alpha=0.3)


def draw_by_confidence(axes: Axes, models: Named) -> None:
    """How often guesses are right over how sure they are; the area of a mark is the share of the guesses."""
    axes.plot([0, 1], [0, 1], **_GREY)
    for number, (_, numbers) in enumerate(models):
        rows = numbers["calibration"]["bins"]
        sizes = [10 + 200 * row["share"] for row in rows]
        places = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
        axes.plot(*places, color=f"C{number}")
        axes.scatter(*places, sizes, color=f"C{number}", alpha=0.6)
    axes.set(xlabel="probability of the likeliest residue", xlim=(0, 1), ylim=(0, 1), ylabel="how often it is right")
    axes.grid(alpha=0.3)


def draw_by_length(axes: Axes, models: Named) -> None:
    """Perplexity of the proteins of each fifth of the lengths, with its standard error."""
    for number, (_, numbers) in enumerate(models):
        rows = numbers["by_length"]
        heights = [row["perplexity"] for row in rows]
        errors = [row["perplexity"] * (row["standard_error"] or 0.0) for row in rows]
        places = [place + 0.08 * (number - (len(models) - 1) / 2) for place in range(len(rows))]
        axes.errorbar(places, heights, errors, marker="o", linestyle="none", capsize=3, color=f"C{number}")
    lengths = models[0][1]["by_length"]
    axes.set_xticks(range(len(lengths)), [f"{row['from']}-{row['to']}" for row in lengths])
    axes.set(xlabel="length (residues); bars: error of the proteins", ylabel="ELBO perplexity")
    axes.grid(alpha=0.3, axis="y")
