"""All that is found out about generated proteins, beside natural ones: gathered once, then printed, drawn and saved."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from d2plm_megatron.console import note, progress
from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.evaluation.samples import letters
from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.evaluation.samples.families import Families, measure_families
from d2plm_megatron.evaluation.samples.fold import plddt
from d2plm_megatron.evaluation.samples.homology import Homology, measure_homology
from d2plm_megatron.evaluation.samples.panel import (
    COLUMNS,
    NATURAL,
    SAMPLES,
    SHUFFLED,
    Panel,
    are_canonical,
    build_panel,
)
from d2plm_megatron.evaluation.samples.plausibility import under_ngrams
from d2plm_megatron.evaluation.samples.verdict import Columns, Verdict, judge
from d2plm_megatron.proteins import mmseqs


@dataclass(frozen=True)
class Judgement:
    """What is known about some generated proteins.

    Attributes:
        samples: where they were read.
        reference: the natural proteins, as the user named them.
        train: the proteins that were trained on, likewise; None for the reference.
        panel: what was compared.
        columns: all measures of each column.
        homology: what MMseqs2 found; None without it.
        families: of the reference, if it names any.
        judge: the model that was asked; None for none.
    """

    samples: Path
    reference: str
    train: str | None
    panel: Panel
    columns: Columns
    homology: Homology | None
    families: Families | None
    judge: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What all measures together say."""
        return judge(self.columns, len(self.panel.samples))

    def with_measures(self, columns: Columns, judge: str) -> "Judgement":
        """With what a model said about each column."""
        return replace(self, columns=_merged(self.columns, columns), judge=judge)


def gather(samples: Path, reference: str, train: str | None = None, fold: str | None = None) -> Judgement:
    """Measures everything that needs no model.

    Args:
        samples: FASTA of generated proteins.
        reference: FASTA file, or prefix of an indexed dataset, of natural proteins.
        train: likewise, of what was trained on; None for the reference.
        fold: command that predicts structures; see fold.

    Raises ValueError, or OSError, for what cannot be read or judged.
    """
    known = list(read_whole(reference))
    panel = build_panel(samples, reference, known)
    with progress("judging", 4 + (fold is not None), "measures") as advance:
        found = [_letters(panel), _copies(panel, train, reference)]
        advance(1)
        found.append(under_ngrams(panel.columns, _fitted_on(panel, train)))
        advance(1)
        homology = _homology(panel, train or reference, None if train else panel.own)
        found.append(homology.measures if homology else {})
        advance(1)
        families = measure_families(panel, known)
        found.append(families.measures if families else {})
        advance(1)
        if fold is not None:
            found.append(_folds(fold, panel))
            advance(1)
    return Judgement(samples, reference, train, panel, _merged(*found), homology, families)


def _letters(panel: Panel) -> Columns:
    """What needs nothing but the letters, and those of the rest of the reference."""
    divergences = letters.Divergences(panel.rest)
    lengths = np.array([len(sequence) for sequence in panel.rest])
    found = {}
    for name, column in panel.columns.items():
        _, first = np.unique(column, return_index=True)
        is_first = np.isin(np.arange(len(column)), first)
        own_lengths = np.array([len(sequence) for sequence in column])
        found[name] = {
            **letters.repetition(column),
            "distinct": Interval(float(is_first.mean())),
            **divergences.of(column),
            **letters.entropies(column),
            "length": letters.median_length(column),
            "length_distance": letters.length_distance(own_lengths, lengths),
        }
    found[SAMPLES]["canonical"] = of_ratio(panel.is_canonical.astype(float))
    found[NATURAL]["canonical"] = of_ratio(are_canonical(panel.columns[NATURAL]).astype(float))
    return found


def _copies(panel: Panel, train: str | None, reference: str) -> Columns:
    """How many proteins of a column are among the known ones; of natural ones without `train`, among the rest."""
    wanted = set().union(*panel.columns.values())
    known = {protein.sequence for protein in read_whole(train or reference) if protein.sequence in wanted}
    of_natural = known if train else set(panel.rest)
    sets = {SAMPLES: known, NATURAL: of_natural, SHUFFLED: known}
    return {
        name: {"copies": of_ratio(np.array([float(sequence in sets[name]) for sequence in column]))}
        for name, column in panel.columns.items()
    }


def _fitted_on(panel: Panel, train: str | None) -> Iterable[str]:
    """What an n-gram is fitted on: what was trained on, or the rest of the reference."""
    return (protein.sequence for protein in read_whole(train)) if train else panel.rest


def _homology(panel: Panel, known: str, own: np.ndarray | None) -> Homology | None:
    try:
        mmseqs.version()
    except ValueError as error:
        note(f"{error}; diversity and novelty are left out")
        return None
    return measure_homology(panel, partial(read_whole, known), own)


def _folds(command: str, panel: Panel) -> Columns:
    """The mean pLDDT of samples and natural proteins."""
    named = {f"{name}_{i}": sequence for name in (SAMPLES, NATURAL) for i, sequence in enumerate(panel.columns[name])}
    of_both = plddt(command, named).reshape(2, -1)
    return _each("plddt", {name: of_ratio(found) for name, found in zip((SAMPLES, NATURAL), of_both, strict=True)})


def _each(key: str, found: dict[str, Interval]) -> Columns:
    return {name: {key: value} for name, value in found.items()}


def _merged(*parts: Columns) -> Columns:
    return {name: {key: value for part in parts for key, value in part.get(name, {}).items()} for name in COLUMNS}
