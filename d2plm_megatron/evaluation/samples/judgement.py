"""All that is found out about generated proteins, beside natural ones: gathered once, then printed, drawn and saved."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from d2plm_megatron.console import note, progress
from d2plm_megatron.evaluation.samples import letters
from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.evaluation.samples.families import Families, measure_families
from d2plm_megatron.evaluation.samples.fold import plddt
from d2plm_megatron.evaluation.samples.homology import Homology, measure_homology
from d2plm_megatron.evaluation.samples.known import Known
from d2plm_megatron.evaluation.samples.panel import COLUMNS, NATURAL, SAMPLES, Panel, are_canonical, sequences
from d2plm_megatron.evaluation.samples.plausibility import under_ngrams
from d2plm_megatron.evaluation.samples.verdict import Columns, Verdict, judge
from d2plm_megatron.proteins import mmseqs


@dataclass(frozen=True)
class Judgement:
    """What is known about some generated proteins.

    Attributes:
        panel: what was compared.
        train: the proteins that were trained on, as the user named them; None for the reference.
        known: the proteins that samples should be new among: these.
        columns: all measures of each column.
        homology: what MMseqs2 found; None without it.
        families: of the reference, if it names any.
        judge: the model that was asked, and how, as JSON; None for none.
    """

    panel: Panel
    train: str | None
    known: Known
    columns: Columns
    homology: Homology | None
    families: Families | None
    judge: dict[str, object] | None = None

    @property
    def samples(self) -> Path:
        """Where the generated proteins were read."""
        return self.panel.source

    @property
    def reference(self) -> str:
        """The natural proteins, as the user named them."""
        return self.panel.reference

    @property
    def reference_in_train(self) -> int | None:
        """How many proteins of the reference were trained on; None where it is not told what was."""
        return None if self.train is None else self.known.of_reference(self.panel)

    @property
    def verdict(self) -> Verdict:
        """What all measures together say."""
        missing = () if self.homology else ("novelty and diversity, as MMseqs2 is missing",)
        return judge(self.columns, len(self.panel.samples), missing)

    def with_measures(self, columns: Columns, judge: dict[str, object]) -> "Judgement":
        """With what a model said about each column."""
        return replace(self, columns=_merged(self.columns, columns), judge=judge)


def gather(panel: Panel, train: str | None = None, fold: str | None = None, folder: Path = Path()) -> Judgement:
    """Measures everything that needs no model.

    Args:
        panel: the samples, and natural proteins.
        train: FASTA file, or prefix of an indexed dataset, of what was trained on; None for the reference.
        fold: command that predicts structures; see fold.
        folder: where there is room for scratch files.

    Raises ValueError, or OSError, for what cannot be read or judged.
    """
    known = Known.look(train or panel.reference, panel)
    found = [_letters(panel), known.copies(panel)]
    found.append(under_ngrams(panel.matched, known.sampled() if train else sequences(panel.rest)))
    if fold is not None:
        found.append(_folds(fold, panel))
    homology = _homology(panel, known, folder)
    found.append(homology.measures if homology else {})
    families = measure_families(panel)
    found.append(families.measures if families else {})
    return Judgement(panel, train, known, _merged(*found), homology, families)


def _letters(panel: Panel) -> Columns:
    """What needs nothing but the letters, and those of the rest of the reference."""
    rest, whole = sequences(panel.rest), panel.columns
    divergences = letters.Divergences(rest)
    found: Columns = {
        name: {**letters.repetition(whole[name]), **divergences.of(column), **letters.entropies(column)}
        for name, column in panel.matched.items()
    }
    lengths = np.array([len(sequence) for sequence in rest])
    for name in (SAMPLES, NATURAL):
        own_lengths = np.array([len(sequence) for sequence in whole[name]])
        found[name] |= {
            "distinct": Interval(len(set(whole[name])) / len(whole[name])),
            "length": letters.median_length(whole[name]),
            "length_distance": letters.length_distance(own_lengths, lengths),
        }
    found[SAMPLES]["canonical"] = of_ratio(panel.is_canonical.astype(float))
    found[NATURAL]["canonical"] = of_ratio(are_canonical(whole[NATURAL]).astype(float))
    return found


def _homology(panel: Panel, known: Known, folder: Path) -> Homology | None:
    try:
        mmseqs.version()
    except ValueError as error:
        note(f"{error}; diversity and novelty are left out")
        return None
    return measure_homology(panel, known, folder)


def _folds(command: str, panel: Panel) -> Columns:
    """The mean pLDDT of samples and natural proteins."""
    named = {f"{name}_{i}": sequence for name in (SAMPLES, NATURAL) for i, sequence in enumerate(panel.columns[name])}
    with progress(f"predicting {len(named):,} structures"):
        of_both = plddt(command, named).reshape(2, -1)
    return {name: {"plddt": of_ratio(found)} for name, found in zip((SAMPLES, NATURAL), of_both, strict=True)}


def _merged(*parts: Columns) -> Columns:
    return {name: {key: value for part in parts for key, value in part.get(name, {}).items()} for name in COLUMNS}
