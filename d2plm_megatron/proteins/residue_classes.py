"""Residues by their chemistry, with a tint for each kind: how sequences and compositions are coloured."""

from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Kind:
    """Residues of a kind.

    Attributes:
        name: for the legend.
        letters: the residues.
        tint: background colour, light enough for dark text.
    """

    name: str
    letters: str
    tint: str


KINDS = (
    Kind("hydrophobic", "AVLIM", "#ebe5d3"),
    Kind("aromatic", "FWY", "#e2d4f2"),
    Kind("polar", "STNQ", "#cfecd6"),
    Kind("positive", "KRH", "#cbdffa"),
    Kind("negative", "DE", "#f9cfcf"),
    Kind("glycine, proline", "GP", "#f7dcb9"),
    Kind("cysteine", "C", "#fbee94"),
)
ORDER = "".join(kind.letters for kind in KINDS)
"""The canonical residues, kind by kind."""

_KIND_OF = {letter: number for number, kind in enumerate(KINDS) for letter in kind.letters}


def kind_of(letter: str) -> int | None:
    """Number of the kind in KINDS; None for what is no canonical residue."""
    return _KIND_OF.get(letter)


def runs(letters: str) -> list[tuple[int | None, str]]:
    """The letters cut where the kind changes: (number of the kind, letters)."""
    return [(kind, "".join(run)) for kind, run in groupby(letters, kind_of)]
