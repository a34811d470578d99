"""Generated or real proteins of a FASTA file, what is counted about them, and how the ones compare with the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.console import progress
from d2plm_megatron.evaluation.samples.novelty import Novelty, count_families, measure_novelty, num_lookups
from d2plm_megatron.evaluation.samples.summary import Summary, divergence, summarise
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.named import Protein, read_proteins


@dataclass(frozen=True)
class Collection:
    """Proteins of a FASTA file, with their summary."""

    path: Path
    proteins: list[Protein]
    summary: Summary

    @classmethod
    def read(cls, path: Path) -> "Collection":
        """Reads the file; raises ValueError where it is damaged or holds no canonical residue."""
        proteins = read_proteins(path)
        try:
            return cls(path, proteins, summarise([protein.sequence for protein in proteins]))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @property
    def sequences(self) -> list[str]:
        """The residues of each protein."""
        return [protein.sequence for protein in self.proteins]

    @property
    def step(self) -> int | None:
        """Of the checkpoint that generated all of them; None where headers tell none, or not the same."""
        steps = {protein.step for protein in self.proteins}
        return steps.pop() if len(steps) == 1 else None


def compare(samples: Collection, reference: Collection) -> Novelty:
    """How near the samples are to the reference. Raises ValueError for a reference of one protein."""
    if len(reference.proteins) < 2:
        raise ValueError(f"{reference.path}: one protein alone is no reference; give at least two")
    total = num_lookups(len(samples.proteins), len(reference.proteins))
    with progress("comparing", total, "proteins") as advance:
        return measure_novelty(samples.sequences, reference.sequences, advance)


def summary_numbers(summary: Summary) -> dict[str, Any]:
    """A summary as JSON: shares from 0 to 1, entropies in nats, lengths in residues."""
    return {
        "proteins": summary.proteins,
        "distinct": summary.distinct,
        "residues": sum(summary.lengths),
        "shortest": min(summary.lengths),
        "median_length": float(np.median(summary.lengths)),
        "longest": max(summary.lengths),
        "entropy": summary.entropy,
        "entropy_within": summary.entropy_within,
        "composition": dict(zip(CANONICAL_LETTERS, summary.composition.tolist(), strict=True)),
    }


def novelty_numbers(novelty: Novelty, samples: Collection, reference: Collection) -> dict[str, Any]:
    """The novelty of samples as JSON, with the nearest reference of each; identities from 0 to 1."""
    known = set(reference.sequences)
    families = count_families(novelty, reference.proteins)
    rows = zip(samples.proteins, novelty.nearest, novelty.is_recognised.tolist(), strict=True)
    return {
        "composition_divergence": divergence(samples.summary.composition, reference.summary.composition),
        "median_identity": float(np.median(novelty.identities)),
        "highest_identity": float(novelty.identities.max()),
        "median_identity_shuffled": float(np.median(novelty.shuffled)),
        "median_identity_reference": float(np.median(novelty.natural)),
        "chance_identity": novelty.chance,
        "recognised": int(novelty.is_recognised.sum()),
        "copies": sum(sequence in known for sequence in samples.sequences),
        "families": {family.name: family.samples for family in families},
        "nearest": [
            {
                "sample": sample.name,
                "length": len(sample.sequence),
                "reference": reference.proteins[found.number].name,
                "family": reference.proteins[found.number].family,
                "identity": found.alignment.identity,
                "recognised": recognised,
            }
            for sample, found, recognised in rows
        ],
    }
