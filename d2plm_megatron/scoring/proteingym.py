"""ProteinGym's files as they are: a folder of assays, and the reference file that says of which protein each is.

Of an assay the column mutant is read, and DMS_score; of the reference file, DMS_substitutions.csv, DMS_id,
DMS_filename, target_seq, UniProt_ID and coarse_selection_type (https://github.com/OATML-Markslab/ProteinGym).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.console import note
from d2plm_megatron.files import stem_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.tables import Line, read_table
from d2plm_megatron.scoring.assays import Assay
from d2plm_megatron.scoring.correlation import Spearman
from d2plm_megatron.scoring.given import encoded

NAME, FILE, TARGET, PROTEIN, FUNCTION = "DMS_id", "DMS_filename", "target_seq", "UniProt_ID", "coarse_selection_type"

SUMMARY = "summary.csv"
"""Of the correlations of all, beside the scores of each."""


@dataclass(frozen=True)
class Reference:
    """What is known of an assay: its name and file, the wild type's letters and name, and the kind of selection."""

    name: str
    file: str
    wild_type: str | None
    protein: str
    function: str


Found = list[tuple[Reference, dict[str, Spearman]]]
"""Of assays, how each method ranks what was measured; nothing where nothing was."""


def read_reference(path: Path) -> list[Reference]:
    """The assays of a reference file. Raises ValueError for a column that is missing, or a wild type that is none."""
    return [_reference(line) for line in read_table(path, [NAME, FILE, TARGET])]


def _reference(line: Line) -> Reference:
    values = line.values
    for column in (NAME, FILE):
        if Path(values[column]).name != values[column]:
            raise ValueError(f"{line.where}: {column} {values[column]}: is no name of a file in a folder")
    wild_type = alphabet.decode(encoded(f"{line.where}: {TARGET}", values[TARGET].strip()))
    protein, function = values.get(PROTEIN, "") or values[NAME], values.get(FUNCTION, "")
    return Reference(values[NAME], values[FILE], wild_type, protein, function)


def of_file(path: Path, references: Sequence[Reference]) -> Reference:
    """What the reference file says of an assay. Raises ValueError where it says nothing."""
    for reference in references:
        if path.name == reference.file or stem_of(path) == reference.name:
            return reference
    raise ValueError(f"{path}: is not among the {len(references):,} assays of the reference file ({FILE}, {NAME})")


def open_folder(
    folder: Path, references: Sequence[Reference] | None, score_column: str | None, offset: int
) -> list[tuple[Reference, Assay]]:
    """All assays of a folder: those of the reference file that are there, or every table, the wild type recovered.

    Raises ValueError where there is none, and what Assay.open raises.
    """
    if references is None:
        found = sorted(path.name for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz", ".tsv")))
        stems = [stem_of(Path(name)) for name in found]
        references = [Reference(stem, name, None, stem, "") for name, stem in zip(found, stems, strict=True)]
    there = [reference for reference in references if (folder / reference.file).is_file()]
    if not there:
        raise ValueError(f"{folder}: no assay in it" + (f", of {len(references):,} that were named" * bool(references)))
    if repeated := [name for name, times in Counter(one.name for one in there).items() if times > 1]:
        raise ValueError(f"{folder}: {repeated[0]} is the name of more than one assay; rename all but one")
    if SUMMARY in [f"{reference.name}.csv" for reference in there]:
        raise ValueError(f"{folder}: an assay is called {stem_of(Path(SUMMARY))}, as the summary of all is; rename it")
    if len(there) < len(references):
        note(f"{folder}: has {len(there):,} of the {len(references):,} assays of the reference file")
    return [(one, Assay.open(folder / one.file, one.wild_type, score_column, offset)) for one in there]


def means(found: Found, method: str) -> dict[str, float]:
    """The `averages` of the correlations of a method; assays without measured values are left out."""
    return averages((reference, by_method[method].value) for reference, by_method in found if by_method)


def averages(found: Iterable[tuple[Reference, float]]) -> dict[str, float]:
    """Means of a measure as ProteinGym reports them; assays that have none are left out.

    Over assays; over proteins, of the means over their assays; over the proteins of each function, where that is known;
    and "average", the mean of these over functions, which is the number of its leaderboard.
    """
    known = [(reference, value) for reference, value in found if np.isfinite(value)]
    by_protein, by_both = defaultdict(list), defaultdict(list)
    for reference, value in known:
        by_protein[reference.protein].append(value)
        by_both[reference.function, reference.protein].append(value)
    by_function = defaultdict(list)
    for (function, _), values in by_both.items():
        by_function[function].append(_mean(values))
    functions = {name: _mean(values) for name, values in sorted(by_function.items()) if name}
    means = {"assays": _mean([value for _, value in known]), "proteins": _mean([*map(_mean, by_protein.values())])}
    return {**means, **functions, **({"average": _mean([*functions.values()])} if functions else {})}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
