"""Families of the reference, as the headers of simulated proteins name them, that samples belong to."""

from collections.abc import Sequence
from dataclasses import dataclass

from d2plm_megatron.evaluation.samples import novelty
from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.evaluation.samples.panel import NATURAL, SAMPLES, Panel, sequences
from d2plm_megatron.proteins.named import Protein


@dataclass(frozen=True)
class Families:
    """Which families there are among the samples.

    Attributes:
        measures: by column and key: the share of proteins that are nearer to the reference than 99% of shuffled samples
            are, and the number of families that they are of.
        found: every family, the one with most samples first.
    """

    measures: dict[str, dict[str, Interval]]
    found: list[novelty.Family]


def measure_families(panel: Panel, known: Sequence[Protein]) -> Families | None:
    """Looks the samples up in the whole reference; None where its headers name no family."""
    if not any(protein.family for protein in known):
        return None
    nearest = novelty.measure_novelty(sequences(panel.samples), [protein.sequence for protein in known])
    found = novelty.count_families(nearest, known)
    natural = {protein.family for protein in panel.natural if protein.family}
    of_samples = {
        "recognised": of_ratio(nearest.is_recognised.astype(float)),
        "families": Interval(float(sum(family.samples > 0 for family in found))),
    }
    of_natural = {
        "recognised": of_ratio((nearest.natural > nearest.chance).astype(float)),
        "families": Interval(float(len(natural))),
    }
    return Families({SAMPLES: of_samples, NATURAL: of_natural}, found)
