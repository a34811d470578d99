"""What `d2plm mutations` wrote: heat maps, scored mutants with what was measured, and correlations of many assays."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.tables import Line, read_table
from d2plm_megatron.scoring.correlation import Spearman, spearman
from d2plm_megatron.scoring.work import COLUMNS, ELBO, MASKED, WILD_TYPE

METHODS = {
    COLUMNS[MASKED]: "masked marginals",
    COLUMNS[WILD_TYPE]: "wild-type marginals",
    COLUMNS[ELBO]: "difference of ELBOs",
}
"""Columns of scores, with their names for people."""

MEASURED = "DMS_score"
_HEAT_MAP = ["position", "wild_type", *CANONICAL_LETTERS]
_SUMMARY = ["assay", "protein", "mutants"]
_STRONGEST = 8


@dataclass(frozen=True)
class HeatMap:
    """All single mutants of a protein.

    Attributes:
        path: of the CSV.
        wild_type: letters.
        first: the number of its first position.
        odds: log p(residue) - log p(wild type), nats, [L, 20], columns as CANONICAL_LETTERS; NaN where there is none.
    """

    path: Path
    wild_type: str
    first: int
    odds: np.ndarray

    def strongest(self, sign: int) -> list[tuple[str, float]]:
        """Mutants with their nats: those that the model likes best (sign 1) or least (sign -1)."""
        values = np.where(np.isfinite(self.odds), sign * self.odds, -np.inf)
        for place, letter in enumerate(self.wild_type):
            if letter in CANONICAL_LETTERS:
                values[place, CANONICAL_LETTERS.index(letter)] = -np.inf
        order = np.argsort(-values, axis=None, kind="stable")[:_STRONGEST]
        found = [divmod(int(number), len(CANONICAL_LETTERS)) for number in order]
        return [(self._named(*at), float(self.odds[at])) for at in found if np.isfinite(values[at])]

    def _named(self, place: int, column: int) -> str:
        return f"{self.wild_type[place]}{place + self.first}{CANONICAL_LETTERS[column]}"


@dataclass(frozen=True)
class Ranked:
    """How scores rank what was measured.

    Attributes:
        path: of the table.
        assay: its name.
        mutants: that have both.
        methods: Spearman's correlation by column.
    """

    path: Path
    assay: str
    mutants: int
    methods: dict[str, Spearman]


def is_heat_map(names: list[str]) -> bool:
    """Whether a table with columns of these names is one."""
    return names == _HEAT_MAP


def is_scored(names: list[str]) -> bool:
    """Whether a table with columns of these names has scores of mutants, and measured values."""
    return MEASURED in names and any(name in METHODS for name in names)


def is_summary(names: list[str]) -> bool:
    """Whether a table with columns of these names has the correlations of many assays."""
    return names[:1] == _SUMMARY[:1] and set(_SUMMARY) <= set(names)


def read_heat_map(path: Path) -> HeatMap:
    """Raises ValueError naming the line of a number that is none, or of positions that do not follow one another."""
    letters: list[str] = []
    rows: list[list[float]] = []
    first = 1
    for line in read_table(path, _HEAT_MAP):
        position = _number(line, "position")
        first = int(position) if not rows and math.isfinite(position) else first
        if position != first + len(rows):
            raise ValueError(f"{line.where}: position {line.values['position']!r} does not follow the one before")
        letters.append(line.values["wild_type"][:1] or "X")
        rows.append([_number(line, letter) for letter in CANONICAL_LETTERS])
    if not rows:
        raise ValueError(f"{path}: no position in it")
    return HeatMap(path, "".join(letters), first, np.array(rows))


def read_scored(path: Path) -> Ranked:
    """Correlates scores with what was measured. Raises ValueError naming the line of what is no number."""
    lines = list(read_table(path, [MEASURED]))
    columns = [name for name in METHODS if lines and name in lines[0].values]
    measured = np.array([_number(line, MEASURED) for line in lines])
    found = {name: spearman(np.array([_number(line, name) for line in lines]), measured) for name in columns}
    mutants = max((one.pairs for one in found.values()), default=0)
    return Ranked(path, path.name.partition(".")[0], mutants, found)


def read_summary(path: Path) -> list[Ranked]:
    """The correlations of each assay. Raises ValueError naming the line of what is no number."""
    return list(_summary(path))


def _summary(path: Path) -> Iterator[Ranked]:
    for line in read_table(path, _SUMMARY):
        mutants = _number(line, "mutants")
        pairs = int(mutants) if math.isfinite(mutants) else 0
        names = [name for name in METHODS if f"{name}_spearman" in line.values]
        found = {name: _summarised(line, name, pairs) for name in names}
        yield Ranked(path, line.values["assay"], pairs, found)


def _summarised(line: Line, name: str, pairs: int) -> Spearman:
    value, low, high = (_number(line, f"{name}_{end}") for end in ("spearman", "low", "high"))
    return Spearman(value, low, high, pairs)


def _number(line: Line, column: str) -> float:
    """What stands in a column, NaN for nothing. Raises ValueError for words, and for a column that is not there."""
    text = line.values.get(column)
    if text is None:
        raise ValueError(f"{line.where}: no column {column}")
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        raise ValueError(f"{line.where}, column {column}: {text!r} is no number") from None
