"""Which residues may be found where: a table of positions, and residues that are allowed or forbidden everywhere.

A table is CSV with a header. `position` is a number from 1, a range such as 5-10 (ends included), or * for all;
`allowed` and `forbidden` are letters, and either column may be missing or empty:

    position,allowed,forbidden
    *,,C
    5-10,AVILMF,
    12,DE,

All rows count: what any of them rules out is not found. Residues that are given stay what they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, LONGEST_RESIDUES
from d2plm_megatron.proteins.tables import read_table

_COLUMNS = ("position", "allowed", "forbidden")
_POSITION = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class Rule:
    """A row: which residues it allows, and where.

    Attributes:
        where: what says so, such as "table.csv, line 3", for messages.
        first: position from 1; None for all of a protein.
        last: position, included.
        allowed: canonical letters.
    """

    where: str
    first: int | None
    last: int
    allowed: frozenset[str]


@dataclass(frozen=True)
class ResidueTable:
    """The rules together."""

    rules: tuple[Rule, ...]

    def allowed(self, length: int) -> tuple[str, ...]:
        """For each residue of a protein of this length the letters that may be found there."""
        everywhere = frozenset(CANONICAL_LETTERS).intersection(*(r.allowed for r in self.rules if r.first is None))
        places = [everywhere] * length
        for rule in self.rules:
            for place in range((rule.first or length + 1) - 1, min(rule.last, length)):
                places[place] &= rule.allowed
        letters = {found: "".join(filter(found.__contains__, CANONICAL_LETTERS)) for found in set(places)}
        return tuple(letters[found] for found in places)

    def check(self, shortest: int) -> None:
        """Raises ValueError for a position that a protein of this length has not, or where nothing is allowed."""
        for rule in self.rules:
            if rule.first is not None and rule.last > shortest:
                raise ValueError(
                    f"{rule.where}: position {rule.last:,} lies beyond proteins of {shortest:,} residues, the shortest "
                    "that were asked for"
                )
        for place, letters in enumerate(self.allowed(shortest), start=1):
            if not letters:
                rules = [rule.where for rule in self.rules if rule.first is None or rule.first <= place <= rule.last]
                raise ValueError(f"{', '.join(rules)}: at position {place:,} no residue is allowed")


def read_residue_table(path: Path | None, forbidden: str = "") -> ResidueTable | None:
    """The rules of a table, and letters that are forbidden everywhere; None where there are none.

    Raises ValueError naming the line of the table that is wrong, or the letter that is none.
    """
    rules = list(_rules(path)) if path else []
    if forbidden:
        where = f"--forbid {forbidden}"
        rules.append(Rule(where, None, 0, frozenset(CANONICAL_LETTERS) - _letters(where, forbidden)))
    return ResidueTable(tuple(rules)) if rules else None


def _rules(path: Path) -> Iterator[Rule]:
    for line in read_table(path, ["position"]):
        where, columns = line.where, set(line.values)
        if unknown := columns - set(_COLUMNS):
            raise ValueError(f"{path}: a column {min(unknown)!r}; the first line must be {','.join(_COLUMNS)}")
        position, allowed, forbidden = (line.values.get(column, "").strip() for column in _COLUMNS)
        if not allowed + forbidden:
            raise ValueError(f"{where}: write a position, and the letters that are allowed or forbidden there")
        letters = _letters(where, allowed) if allowed else frozenset(CANONICAL_LETTERS)
        yield Rule(where, *_places(where, position), letters - _letters(where, forbidden))


def _places(where: str, text: str) -> tuple[int | None, int]:
    if text == "*":
        return None, 0
    found = _POSITION.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= LONGEST_RESIDUES:
        raise ValueError(f"{where}: position {text!r} is none; write 7, a range such as 5-10, or * for all, from 1")
    return first, last


def _letters(where: str, text: str) -> frozenset[str]:
    letters = frozenset(text.upper().replace(" ", ""))
    if wrong := sorted(letters - set(CANONICAL_LETTERS)):
        raise ValueError(f"{where}: {wrong[0]!r} is no canonical residue ({CANONICAL_LETTERS})")
    return letters
