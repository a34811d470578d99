"""Two proteins side by side, and how similar they are.

Local alignment (Smith and Waterman 1981) with BLOSUM62 and affine gaps, 11 to open and 1 per residue, as in BLASTP.
Identity is counted as in CD-HIT: identical residues, as a share of the shorter protein. Over the alignment alone it
would tell nothing, since any two proteins share some short stretch with a high one.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

GAP = "-"
_GAP_OPEN = -11.0
_GAP_EXTEND = -1.0
_RARE = str.maketrans("UO", "XX")  # BLOSUM62 has no selenocysteine and no pyrrolysine


@dataclass(frozen=True)
class Alignment:
    """The best local alignment of two proteins, column by column.

    Attributes:
        rows: the residues of the first and of the second protein, equally long, "-" for a gap.
        starts: position of the first column in each protein, from 0.
        shorter: residues of the shorter protein.
    """

    rows: tuple[str, str]
    starts: tuple[int, int]
    shorter: int

    @property
    def num_identical(self) -> int:
        """Columns with twice the same canonical residue."""
        return sum(a == b and a in CANONICAL_LETTERS for a, b in zip(*self.rows, strict=True))

    @property
    def identity(self) -> float:
        """Identical residues as a share of the shorter protein, 0 to 1."""
        return self.num_identical / self.shorter

    @property
    def midline(self) -> str:
        """Per column the residue where both are the same, + where they are similar (BLOSUM62 above 0), else a space."""
        return "".join(map(_relation, *self.rows))


def align(first: str, second: str) -> Alignment:
    """The best local alignment of two proteins of at least one residue each; without a column if none scores above 0.

    Letters are those of alphabet.RESIDUE_LETTERS; U and O count as X, which is identical to nothing.
    """
    shorter = min(len(first), len(second))
    pair = first.translate(_RARE), second.translate(_RARE)
    if _aligner().score(*pair) <= 0:
        return Alignment(("", ""), (0, 0), shorter)
    best = _aligner().align(*pair)[0]
    starts = best.coordinates[:, 0]
    return Alignment((best[0], best[1]), (int(starts[0]), int(starts[1])), shorter)


def similarity(first: str, second: str) -> float:
    """The score of the best local alignment, in BLOSUM62's units of half a bit."""
    return float(_aligner().score(first.translate(_RARE), second.translate(_RARE)))


@cache
def _aligner() -> Any:
    from Bio.Align import PairwiseAligner  # slow, and not every command aligns

    return PairwiseAligner(
        mode="local",
        substitution_matrix=_blosum62(),
        open_gap_score=_GAP_OPEN + _GAP_EXTEND,  # Biopython's first residue of a gap costs the opening alone
        extend_gap_score=_GAP_EXTEND,
    )


@cache
def _blosum62() -> Any:
    from Bio.Align import substitution_matrices

    return substitution_matrices.load("BLOSUM62")


def _relation(a: str, b: str) -> str:
    if GAP in (a, b):
        return " "
    if a == b and a in CANONICAL_LETTERS:
        return a
    return "+" if _blosum62()[a, b] > 0 else " "
