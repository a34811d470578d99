"""Families of the reference, as the headers of simulated proteins name them, that samples belong to."""

from dataclasses import dataclass

from d2plm_megatron.console import progress
from d2plm_megatron.evaluation.samples import novelty
from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.evaluation.samples.panel import NATURAL, SAMPLES, Panel, sequences


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


def measure_families(panel: Panel) -> Families | None:
    """Looks the samples up in the reference; None where its headers name no family."""
    known = [*panel.natural, *panel.rest]
    if not any(protein.family for protein in known):
        return None
    total = novelty.num_lookups(len(panel.samples), len(known))
    with progress("looking for families", total, "proteins") as advance:
        nearest = novelty.measure_novelty(sequences(panel.samples), sequences(known), advance)
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
