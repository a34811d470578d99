"""Simulated families that stand for natural proteins, and FASTA files of them, for what is judged beside them."""

from functools import cache
from pathlib import Path

from d2plm_megatron.proteins.fasta import write_fasta
from data_tools.simulate import SimulatedProtein, simulate

FEW = 60
"""As many as judged samples are; the rest of them is a reference."""


@cache
def corpus() -> list[SimulatedProtein]:
    """FEW and 260 proteins, with their families."""
    return simulate(FEW + 260, mean_identity=0.5, seed=3)


def written(path: Path, sequences: list[str]) -> Path:
    """A FASTA file of proteins, each with an id."""
    write_fasta(path, ((f"{path.stem}_{number}", sequence) for number, sequence in enumerate(sequences)))
    return path
