"""All single mutants of a protein as a heat map, positions by residues: a picture, and its numbers as CSV."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from d2plm_megatron.files import atomic
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.tables import write_table

ROWS = "GAVLIMFWYHKRDENQSTCP"
"""Residues of a kind beside each other."""
_POSITIONS_IN_A_LINE = 100
_DPI, _MOST_PIXELS = 150, 60_000
"""Of a picture; matplotlib draws none that is 65,536 pixels high, as that of 13,700 residues would be."""


def write_heat_map(path: Path, wild_type: str, odds: np.ndarray, offset: int, title: str) -> None:
    """Writes a PNG, and a CSV beside it.

    Args:
        path: of the PNG.
        wild_type: letters.
        odds: log p(residue) - log p(wild type), [L, 20], columns as CANONICAL_LETTERS.
        offset: how far positions are ahead of the wild type's, which count from 1.
        title: above the picture.
    """
    columns = {"position": int, "wild_type": str, **dict.fromkeys(alphabet.CANONICAL_LETTERS, float)}
    with write_table(path.with_suffix(".csv"), columns) as write:
        for place, (letter, values) in enumerate(zip(wild_type, odds, strict=True)):
            write(
                (place + 1 + offset, letter, *(None if np.isnan(value) else round(float(value), 6) for value in values))
            )
    with atomic(path) as (temporary,):
        figure = draw(wild_type, odds, offset, title)
        figure.savefig(temporary, format="png", dpi=min(_DPI, _MOST_PIXELS / figure.get_figheight()))


def draw(wild_type: str, odds: np.ndarray, offset: int, title: str, in_a_line: int = _POSITIONS_IN_A_LINE) -> Figure:
    """The picture, in equal lines of so many positions at most; the other arguments are those of write_heat_map."""
    width = math.ceil(len(wild_type) / math.ceil(len(wild_type) / in_a_line))
    starts = range(0, len(wild_type), width)
    figure = Figure(figsize=(2 + 0.14 * max(width, 30), 0.8 + 3.2 * len(starts)), layout="constrained")
    axes = figure.subplots(len(starts), squeeze=False)[:, 0]
    by_kind = odds[:, [alphabet.CANONICAL_LETTERS.index(letter) for letter in ROWS]].T
    most = float(np.nanquantile(np.abs(odds), 0.98)) if np.isfinite(odds).any() else 1.0
    for start, axis in zip(starts, axes, strict=True):
        stop = min(start + width, len(wild_type))
        image = axis.imshow(by_kind[:, start:stop], cmap="RdBu", vmin=-most, vmax=most, aspect="auto",
                            extent=(start + offset + 0.5, stop + offset + 0.5, len(ROWS) - 0.5, -0.5))  # fmt: skip
        own = [
            (place + 1 + offset, ROWS.index(wild_type[place]))
            for place in range(start, stop)
            if wild_type[place] in ROWS
        ]
        axis.plot(*zip(*own, strict=True), "k.", markersize=2) if own else None
        axis.set(
            yticks=range(len(ROWS)), yticklabels=list(ROWS), xlim=(start + offset + 0.5, start + width + offset + 0.5)
        )
        axis.tick_params(labelsize=6)
    axes[0].set_title(title, fontsize=9, parse_math=False)  # a name may have dollars
    axes[-1].set_xlabel("position; a dot is the wild type", fontsize=8)
    figure.colorbar(image, ax=list(axes), label="log p(residue) - log p(wild type)", shrink=min(1.0, 2 / len(starts)))
    return figure
