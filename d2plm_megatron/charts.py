"""What a run looks like on axes."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes


def plot_perplexity(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    """Training and validation perplexity over steps, from the lines of a metrics.jsonl; the perplexity axis is log."""
    train = [line for line in lines if line["kind"] == "train"]
    axes.plot([line["step"] for line in train], [line["perplexity"] for line in train], label="training", alpha=0.6)
    held_out = [line for line in lines if line["kind"] == "validation"]
    for name in sorted({key for line in held_out for key in line if key.endswith("_perplexity")}):
        points = [(line["step"], line[name]) for line in held_out if name in line]
        label = f"validation, {name.removesuffix('_perplexity').replace('elbo', 'ELBO')}"
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set(xlabel="step", ylabel="perplexity", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
