"""What was done, for people and programs: manifest.json and a picture of the lengths and the composition."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import lmdb
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import d2plm_megatron
from d2plm_megatron.proteins.alphabet import RESIDUES, TOKENS

from .splits import Side

_BIN_RESIDUES = 50
_COLORS = ("tab:blue", "tab:orange")


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Of what decides the bytes that are written, but for MMseqs2."""
    return {
        "d2plm_megatron": d2plm_megatron.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "lmdb": ".".join(map(str, lmdb.version())),
        "matplotlib": matplotlib.__version__,
    }


def describe_side(side: Side) -> dict[str, Any]:
    """A side in numbers: counts, composition, and proteins per length, in bins of 50 residues from 1-50 on."""
    letters = range(RESIDUES.start, RESIDUES.stop)
    return {
        "proteins": side.proteins,
        "residues": side.residues,
        "chunks_of_cut_proteins": side.chunks_of_cut_proteins,
        "composition": {TOKENS[index]: int(side.composition[index]) for index in letters},
        "length_histogram": {"bin_residues": _BIN_RESIDUES, "proteins": _binned(side).tolist()},
    }


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest as JSON."""
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def draw(path: Path, sides: dict[str, Side]) -> None:
    """Draws the lengths of the proteins and the shares of the residues, both sides over each other, as PNG."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    lengths, composition = figure.subplots(1, 2)
    for (name, side), color in zip(sides.items(), _COLORS, strict=False):
        if side.proteins:
            _draw_side(lengths, composition, f"{name}, {side.proteins:,} proteins", side, color)
    lengths.set(xlabel="length (residues)", ylabel="share of proteins", xscale="log")
    composition.set(xlabel="residue", ylabel="share of residues")
    for axes in (lengths, composition):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)


def _draw_side(lengths: Any, composition: Any, label: str, side: Side, color: str) -> None:
    edges = np.unique(np.geomspace(10, max(20, len(side.proteins_of_length)), 60).astype(int))
    of_length = np.arange(len(side.proteins_of_length))
    shares, _ = np.histogram(of_length, bins=edges, weights=side.proteins_of_length / side.proteins)
    lengths.stairs(shares, edges, label=label, color=color)
    letters = list(TOKENS[RESIDUES])
    composition.plot(letters, side.composition[RESIDUES] / side.residues, "o", label=label, color=color, alpha=0.7)


def _binned(side: Side) -> np.ndarray:
    counts = side.proteins_of_length[1:]
    return np.pad(counts, (0, -len(counts) % _BIN_RESIDUES)).reshape(-1, _BIN_RESIDUES).sum(axis=1)
