"""What a preparation did, for people and programs: manifest.json, and a picture of the lengths and the composition."""

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

import d2plm_megatron
from d2plm_megatron.proteins.alphabet import RESIDUES, TOKENS

from ..formats.proteins_lmdb import data_file
from .cleaning import Tally
from .homologs import comparisons
from .outcomes import DUPLICATE
from .plan import Plan
from .raw_blocks import left_out
from .splits import SplitCounts
from .workers import ordered_map

_BIN_RESIDUES = 50
_COLORS = ("tab:blue", "tab:orange", "tab:green")


def checksum(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions of what decides the bytes that are written, except that of MMseqs2."""
    return {
        "d2plm_megatron": d2plm_megatron.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "lmdb": ".".join(map(str, lmdb.version())),
        "matplotlib": metadata.version("matplotlib"),
    }


def manifest(
    plan: Plan,
    results: Path,
    tallies: dict[Path, Tally],
    removed: np.ndarray,
    splits: dict[str, SplitCounts],
    mmseqs: str | None,
    workers: int,
) -> dict[str, Any]:
    """All that is told about a preparation whose files lie in the folder `results`, as JSON.

    `tallies` says what happened to the records of each input, `removed` how many proteins had which outcome, and
    `mmseqs` is the version of MMseqs2, None without it. Checksums are taken by `workers` processes.
    """
    sources, files = [data_file(path) for path in plan.inputs], sorted(results.iterdir())
    searched = comparisons(plan.rules.hold_out)
    sums = list(ordered_map(checksum, [*sources, *files], min(workers, len(sources) + len(files))))
    return {
        "inputs": [
            {"path": str(path), "bytes": source.stat().st_size, "sha256": total, **_describe_input(path, plan, tallies)}
            for path, source, total in zip(plan.inputs, sources, sums, strict=False)
        ],
        "parameters": plan.describe(),
        "versions": versions() | ({"mmseqs2": mmseqs} if mmseqs else {}),
        "outcomes": {
            "read": sum(tally.read for tally in tallies.values()),
            "rejected": sum(tally.skipped.total() for tally in tallies.values()),
            "duplicates": int(removed[DUPLICATE]),
            **({f"homologs of {one.name}": int(removed[one.outcome]) for one in searched} if plan.homology else {}),
            **{name: counts.proteins for name, counts in splits.items()},
        },
        "splits": {name: _describe_split(counts) for name, counts in splits.items()},
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": total}
            for path, total in zip(files, sums[len(sources) :], strict=True)
        },
    }


def write_manifest(path: Path, values: dict[str, Any]) -> None:
    """Writes the manifest as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def plot_splits(path: Path, splits: dict[str, SplitCounts]) -> None:
    """Plots as PNG how long the proteins are and how common each residue is, the splits over each other."""
    from matplotlib.figure import Figure  # takes longer to load than all the rest, and help does without

    figure = Figure(figsize=(11, 4), layout="constrained")
    lengths, composition = figure.subplots(1, 2)
    for (name, counts), color in zip(splits.items(), _COLORS, strict=False):
        if counts.proteins:
            _plot_split(lengths, composition, f"{name}, {counts.proteins:,} proteins", counts, color)
    lengths.set(xlabel="length (residues)", ylabel="fraction of proteins", xscale="log")
    composition.set(xlabel="residue", ylabel="fraction of residues")
    for axes in (lengths, composition):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)


def _describe_input(path: Path, plan: Plan, tallies: dict[Path, Tally]) -> dict[str, Any]:
    tally = tallies[path]
    return {
        "records": tally.read,
        "normalised": dict(sorted(tally.notes.items())),
        "rejected": dict(sorted(tally.skipped.items())),
        "left_out": left_out(path, plan.layout),
    }


def _describe_split(counts: SplitCounts) -> dict[str, Any]:
    """A split in numbers. Proteins are counted by length in bins of 50 residues, of which the first is 1 to 50."""
    letters = range(RESIDUES.start, RESIDUES.stop)
    return {
        "proteins": counts.proteins,
        "residues": counts.residues,
        "chunks_of_cut_proteins": counts.chunks_of_cut_proteins,
        "composition": {TOKENS[index]: int(counts.composition[index]) for index in letters},
        "length_histogram": {"bin_residues": _BIN_RESIDUES, "proteins": _binned(counts).tolist()},
    }


def _plot_split(lengths: Any, composition: Any, label: str, counts: SplitCounts, color: str) -> None:
    edges = np.unique(np.geomspace(10, max(20, len(counts.proteins_of_length)), 60).astype(int))
    of_length = np.arange(len(counts.proteins_of_length))
    fractions, _ = np.histogram(of_length, bins=edges, weights=counts.proteins_of_length / counts.proteins)
    lengths.stairs(fractions, edges, label=label, color=color)
    letters = list(TOKENS[RESIDUES])
    composition.plot(letters, counts.composition[RESIDUES] / counts.residues, "o", label=label, color=color, alpha=0.7)


def _binned(counts: SplitCounts) -> np.ndarray:
    of_length = counts.proteins_of_length[1:]
    return np.pad(of_length, (0, -len(of_length) % _BIN_RESIDUES)).reshape(-1, _BIN_RESIDUES).sum(axis=1)
