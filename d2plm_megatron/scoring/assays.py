"""Tables of mutants, with measured values or without: a column `mutant` and, as in ProteinGym, DMS_score."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from d2plm_megatron.files import is_file
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.tables import Line, column_names, read_table, wider
from d2plm_megatron.scoring.given import encoded, read_given
from d2plm_megatron.scoring.mutants import Mutant, mutated, parse, restored

MUTANT, SEQUENCE, SCORE = "mutant", "mutated_sequence", "DMS_score"


@dataclass(frozen=True)
class Assay:
    """A table of mutants of one wild type.

    Attributes:
        path: of the table.
        wild_type: its letters.
        columns: of the table.
        score_column: the measured values, among the columns; None where there are none.
        offset: how far positions of mutants are ahead of those in the wild type.
    """

    path: Path
    wild_type: str
    columns: tuple[str, ...]
    score_column: str | None
    offset: int = 0

    @classmethod
    def open(cls, path: Path, wild_type: str | None, score_column: str | None, offset: int = 0) -> "Assay":
        """Finds out what is in a table.

        Args:
            path: of it.
            wild_type: letters; None to recover them from a mutant and its mutated_sequence.
            score_column: measured values; None for DMS_score, if that is there.
            offset: of positions.

        Raises ValueError for a column that is missing, and where the wild type cannot be told.
        """
        next(read_table(path, [MUTANT, *([score_column] if score_column else [])]), None)
        columns = column_names(path)
        wild_type = wild_type or _recovered(path, columns, offset)
        return cls(path, wild_type, tuple(columns), score_column or (SCORE if SCORE in columns else None), offset)

    def rows(self) -> Iterator[tuple[Line, Mutant]]:
        """Yields each row with its mutant. Raises ValueError naming the row that does not fit the wild type."""
        for line in read_table(self.path, [MUTANT]):
            mutant = parse(line.where, line.values[MUTANT], self.wild_type, self.offset)
            sequence = line.values.get(SEQUENCE, "").strip().upper()
            if sequence and sequence != mutated(self.wild_type, mutant):
                raise ValueError(
                    f"{line.where}: {SEQUENCE} is not the wild type with {line.values[MUTANT]} in it; check --wild-type"
                )
            yield line, mutant

    @cached_property
    def content(self) -> "Content":
        """All that there is to know before any work. Raises what `rows` raises, and for a value that is no number."""
        places: set[int] = set()
        values, kinds = [], dict.fromkeys(self.columns)
        for line, mutant in self.rows():
            kinds = {name: wider(kinds[name], text) for name, text in line.values.items()}
            places.update(mutation.place for mutation in mutant)
            values.append(_number(line, self.score_column) if self.score_column else math.nan)
        return Content(sorted(places), np.array(values), {name: kind or str for name, kind in kinds.items()})


@dataclass(frozen=True)
class Content:
    """What is in a table of mutants.

    Attributes:
        places: in the wild type, at which anything is mutated, from 0.
        measured: the value of each mutant, float64, NaN where there is none.
        columns: of the table, with what is in them: int, float or str.
    """

    places: list[int]
    measured: np.ndarray
    columns: dict[str, type]


def read_wild_type(given: str) -> str:
    """The letters of a protein that was given as such, or as a FASTA file of one record. Raises ValueError."""
    if not is_file(given):
        if not given.isalpha():
            raise ValueError(f"--wild-type {given}: no such file, and no residues")
        return alphabet.decode(encoded("--wild-type", given))
    records = list(read_given(Path(given)))
    if len(records) != 1:
        raise ValueError(f"--wild-type {given}: {len(records)} proteins; give a file of one, or its letters")
    return alphabet.decode(records[0][1])


def _recovered(path: Path, columns: list[str], offset: int) -> str:
    if SEQUENCE not in columns:
        raise ValueError(f"{path}: of which wild type? give --wild-type, --reference-file, or a column {SEQUENCE}")
    line = next(read_table(path))
    mutant = parse(line.where, line.values[MUTANT], None, offset)
    sequence = alphabet.decode(encoded(f"{line.where}: {SEQUENCE}", line.values[SEQUENCE].strip()))
    wild_type = restored(sequence, mutant)
    if wild_type is None:
        raise ValueError(f"{line.where}: {SEQUENCE} does not have {line.values[MUTANT]} in it; see --offset")
    return wild_type


def _number(line: Line, column: str) -> float:
    text = line.values[column].strip()
    try:
        value = float(text or "nan")
    except ValueError:
        raise ValueError(f"{line.where}: {column} is {text!r}, no number") from None
    if math.isinf(value):
        raise ValueError(f"{line.where}: {column} is {text!r}, no finite number")
    return value
