"""The picture of a run: perplexity over steps."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from d2plm_megatron.files import atomic
from d2plm_megatron.runs.charts import plot_perplexity


def draw_curve(lines: Iterable[dict[str, Any]], title: str, path: Path) -> None:
    """Draws training and validation perplexity from the lines of a metrics.jsonl, as PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    plot_perplexity(axes, list(lines))
    axes.set_title(title, parse_math=False)  # a name may have dollars
    axes.legend()
    with atomic(path) as (temporary,):
        figure.savefig(temporary, format="png", dpi=120)
