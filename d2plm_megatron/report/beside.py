"""What else is known about a run or about samples: files beside them, or named, told by what is in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from d2plm_megatron.console import note
from d2plm_megatron.files import stem_of
from d2plm_megatron.proteins.tables import column_names
from d2plm_megatron.report.effects import (
    HeatMap,
    Ranked,
    is_heat_map,
    is_scored,
    is_summary,
    read_heat_map,
    read_scored,
    read_summary,
)
from d2plm_megatron.report.evaluation_record import Comparison, comparison_of, is_comparison, read_json
from d2plm_megatron.report.judgement_record import Judgement, is_judgement, judgement_of
from d2plm_megatron.runs.folder import RunFolder

_KINDS = "a judgement, a comparison, a heat map or scored mutants"
_SUMMARY = "summary.csv"


@dataclass
class Beside:
    """What was found.

    Attributes:
        judgements: of generated proteins.
        comparisons: of models.
        heat_maps: of mutants.
        assays: how scores rank measured values.
    """

    judgements: list[Judgement] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    heat_maps: list[HeatMap] = field(default_factory=list)
    assays: list[Ranked] = field(default_factory=list)

    def take(self, path: Path) -> bool:
        """Reads a file, or the summary of a folder of assays; whether it is of a kind that a report shows.

        Raises ValueError, or OSError, for one that is damaged.
        """
        path = path / _SUMMARY if path.is_dir() else path
        return self._take_json(path) if path.suffix == ".json" else self._take_table(path)

    def _take_json(self, path: Path) -> bool:
        found = read_json(path)
        if is_judgement(found):
            self.judgements.append(judgement_of(path, found))
        elif is_comparison(found):
            self.comparisons.append(comparison_of(found))
        else:
            return False
        return True

    def _take_table(self, path: Path) -> bool:
        names = column_names(path)
        if is_heat_map(names):
            self.heat_maps.append(read_heat_map(path))
        elif is_summary(names):
            self.assays += read_summary(path)
        elif is_scored(names):
            self.assays.append(read_scored(path))
        else:
            return False
        return True

    def judgement_of(self, samples: Path) -> Judgement | None:
        """That of a file of samples."""
        return next((found for found in self.judgements if found.samples == samples.name), None)


def look_beside(run: Path | None, samples: Path | None, named: Sequence[Path]) -> Beside:
    """What is in the folder of a run, beside samples, and what is named.

    What cannot be read in the folder is told and left out. Raises ValueError or OSError for what is named and cannot
    be read, or is of no kind that a report shows.
    """
    beside = Beside()
    named_paths = {path.resolve() for path in named}
    for path in named:
        if not beside.take(path):
            raise ValueError(f"{path}: is neither {_KINDS}, so that the report cannot show it")
    for path in _there(run, samples):
        if path.resolve() not in named_paths:
            try:
                beside.take(path)
            except (OSError, ValueError) as error:
                note(f"{error}; it is left out")
    return beside


def _there(run: Path | None, samples: Path | None) -> Iterable[Path]:
    """Files that may be of such a kind."""
    found = list(RunFolder(run).results()) if run else []
    if samples is not None:
        names = (f"{stem_of(samples)}.judge.json", "judge.json")
        found += [path for name in names if (path := samples.with_name(name)).is_file()]
    return dict.fromkeys(found)
