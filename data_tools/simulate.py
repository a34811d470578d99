"""A corpus to try everything on: families of proteins evolved from thirteen well-known ones.

The ancestors are sequences of UniProt (ancestors.fasta; UniProt, CC BY 4.0). How they evolve is said in evolution.py.
The header of a simulated protein tells the truth about it:
    >sim_000123 family=GFP_AEQVI identity=0.71
where identity is the fraction of unchanged residues among those inherited from the ancestor, insertions and deletions
left out. All families are of equal size, and their proteins are in random order. The same arguments give the same bytes
(with the same version of numpy, which may change how it draws).
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.console import progress, run
from d2plm_megatron.proteins.fasta import read_fasta, write_fasta

from .simulation.evolution import Substitutions, depth_of_identity, found_family, grow_family

LOWEST_IDENTITY = 0.2
MOST_PROTEINS = 10_000_000


@dataclass(frozen=True)
class SimulatedProtein:
    """A protein with the name of its family and the fraction of its inherited residues that are unchanged."""

    family: str
    identity: float
    sequence: str


def main(
    output: Annotated[Path, typer.Option(help="FASTA file to write, replaced if it exists.", dir_okay=False)],
    proteins: Annotated[int, typer.Option(help="How many proteins to simulate.")] = 3000,
    mean_identity: Annotated[
        float, typer.Option(help="About the fraction of residues that are as in the ancestor, 0.2 up to but not 1.")
    ] = 0.65,
    seed: Annotated[int, typer.Option(help="Seed of all randomness, 0 or more.")] = 0,
) -> None:
    """Simulates protein families by evolution from real proteins and writes them as FASTA."""
    corpus = simulate(proteins, mean_identity, seed)
    write_fasta(
        output,
        (
            (f"sim_{number:06d} family={protein.family} identity={protein.identity:.2f}", protein.sequence)
            for number, protein in enumerate(corpus)
        ),
    )
    print_families(output, corpus)


def read_ancestors() -> dict[str, str]:
    """The ancestors of the families: UniProt entry name to sequence."""
    with resources.as_file(resources.files(f"{__package__}.simulation") / "ancestors.fasta") as path:
        return dict(read_fasta(path))


def simulate(num_proteins: int, mean_identity: float, seed: int) -> list[SimulatedProtein]:
    """Simulates a corpus, families of equal size (to one) mixed in random order.

    Raises ValueError for proteins outside [1, MOST_PROTEINS], a mean identity outside [0.2, 1) or a seed below zero.
    """
    if not 1 <= num_proteins <= MOST_PROTEINS:
        raise ValueError(f"--proteins {num_proteins}: expected 1 to {MOST_PROTEINS:,}")
    if not LOWEST_IDENTITY <= mean_identity < 1:
        raise ValueError(f"--mean-identity {mean_identity}: expected {LOWEST_IDENTITY} up to but not 1")
    if seed < 0:
        raise ValueError(f"--seed {seed}: expected 0 or more")
    process = Substitutions()
    ancestors = read_ancestors()
    corpus: list[SimulatedProtein] = []
    with progress("simulating", total=num_proteins, unit="proteins") as advance:
        for number, (family, sequence) in enumerate(ancestors.items()):
            size = num_proteins // len(ancestors) + (number < num_proteins % len(ancestors))
            if size:
                rng = np.random.default_rng([seed, number])
                corpus += _simulate_family(family, sequence, size, mean_identity, process, rng)
                advance(size)
    order = np.random.default_rng([seed, len(ancestors)]).permutation(num_proteins)
    return [corpus[place] for place in order]


def print_families(output: Path, corpus: list[SimulatedProtein]) -> None:
    """Prints a table of the families: how many proteins, how similar to their ancestor, how long."""
    table = Table("family", "proteins", "mean identity", "least", "most", "mean length", title=str(output))
    for family in read_ancestors():
        members = [protein for protein in corpus if protein.family == family]
        if members:
            identities = np.array([protein.identity for protein in members])
            length = np.mean([len(protein.sequence) for protein in members])
            ranges = (f"{value:.2f}" for value in (identities.mean(), identities.min(), identities.max()))
            table.add_row(family, f"{len(members):,}", *ranges, f"{length:.1f}")
    get_console().print(table)


def _simulate_family(
    family: str, sequence: str, size: int, mean_identity: float, process: Substitutions, rng: np.random.Generator
) -> list[SimulatedProtein]:
    ancestor = found_family(sequence, rng)
    depth = depth_of_identity(ancestor, mean_identity, process)
    leaves = grow_family(ancestor, size, depth, process, rng)
    return [SimulatedProtein(family, leaf.identity(ancestor), leaf.sequence) for leaf in leaves]


if __name__ == "__main__":
    run(main)
