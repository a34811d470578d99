"""What benchmarks/sampling.py has measured, as a table and as a picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from d2plm_megatron.proteins.composition import entropy
from d2plm_megatron.sampling.config import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_ENTROPY = 2.0
"""Nats within a protein, as of 7 residues in equal shares: with less it is a repeat, whose perplexity means nothing."""
PANELS_IN_A_ROW = 4


@dataclass(frozen=True)
class Measured:
    """What a sampler made in some steps, and how good it is.

    Attributes:
        name: of the sampler.
        steps: that it was given.
        made: the proteins, with the seconds of CPU.
        nats: of each protein per residue under the model, float64 [P].
        divergence: of the composition from that of natural proteins, nats.
    """

    name: str
    steps: int
    made: Samples
    nats: np.ndarray
    divergence: float

    @property
    def perplexity(self) -> float:
        """Under the model, over all proteins."""
        return float(np.exp(self.nats.mean()))

    @property
    def perplexity_error(self) -> float:
        """Standard error over proteins."""
        return float(self.perplexity * self.nats.std(ddof=1) / np.sqrt(len(self.nats)))

    @property
    def entropy(self) -> float:
        """Of the residues within a protein, nats, on average."""
        return sum(map(entropy, self.made.sequences)) / len(self.made.sequences)


def as_table(found: list[Measured], title: str) -> Table:
    """A row of each, with its speed as a multiple of the last one's."""
    table = Table(title=title)
    for column in ("sampler", "steps", "evaluations", "CPU s", "speed", "perplexity", "entropy", "divergence"):
        table.add_column(column, justify="left" if column == "sampler" else "right")
    slowest = found[-1].made.seconds
    for one in found:
        speed = (f"{one.made.nfe:.1f}", f"{one.made.seconds:.1f}", f"{slowest / one.made.seconds:.1f} x")
        quality = (f"{one.perplexity:.2f} +- {one.perplexity_error:.2f}", f"{one.entropy:.3f}", f"{one.divergence:.4f}")
        table.add_row(one.name, str(one.steps), *speed, *quality)
    return table


def draw(found: list[Measured], path: Path) -> None:
    """Perplexity over evaluations of the network: a panel for each sampler, with those of the others in grey."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(one.name for one in found))
    figure = Figure(figsize=(10, 8), layout="constrained")
    num_rows = math.ceil(len(names) / PANELS_IN_A_ROW)
    panels = figure.subplots(num_rows, PANELS_IN_A_ROW, sharex=True, sharey=True, squeeze=False)
    for name, axes in zip(names, panels.flat[: len(names)], strict=True):
        for other in names:
            _line(axes, [one for one in found if one.name == other], is_own=other == name)
        axes.set_title(name.replace(", ", ",\n"), fontsize=8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("evaluations of the network per protein")
    figure.supylabel("perplexity under the model, ± standard error")
    figure.savefig(path, dpi=100)


def _line(axes: "Axes", own: list[Measured], is_own: bool) -> None:
    """A sampler's numbers; of repeats it is said that they are, so that the others can be told apart."""
    told = [one for one in own if one.entropy >= LEAST_ENTROPY]
    quality = [one.perplexity for one in told], [one.perplexity_error if is_own else 0 for one in told]
    style: dict[str, Any] = {"color": "C0", "zorder": 2} if is_own else {"color": "0.85", "zorder": 1}
    axes.errorbar([one.made.nfe for one in told], *quality, marker="o", markersize=3, capsize=2, **style)
    if is_own and not told:
        entropies = f"{min(one.entropy for one in own):.2f} to {max(one.entropy for one in own):.2f}"
        axes.text(0.5, 0.15, f"repeats:\nentropy {entropies}", ha="center", transform=axes.transAxes, fontsize=8)
