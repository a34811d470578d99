"""Contigs: which parts of given proteins to keep, and how many residues to find between them.

    10-20/A23-45/5/B60-70

is 10 to 20 new residues, residues 23 to 45 of protein A, 5 new ones, and residues 60 to 70 of protein B. Positions
count from 1, ends are included, and A is the first protein that is given, B the second. The notation is that of
RFdiffusion (Watson et al. 2023), whose brackets are taken as well, and so are the commas of RFdiffusion3. A residue of
a motif that is to be found anew is written as what it is, a linker: A23-30/1/A32-45.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES

_SEGMENT = re.compile(r"([A-Z]?)(\d{1,9})(?:-([A-Z]?)(\d{1,9}))?")
_EXAMPLE = "write linkers and parts of the motif proteins, such as 10-20/A23-45/5/B60-70"


@dataclass(frozen=True)
class Linker:
    """New residues, at least `shortest` and at most `longest` of them."""

    shortest: int
    longest: int

    def __str__(self) -> str:
        return str(self.shortest) if self.shortest == self.longest else f"{self.shortest}-{self.longest}"


@dataclass(frozen=True)
class Motif:
    """Residues `first` to `last`, from 1, of the protein with this letter: A is the first that was given."""

    protein: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.protein}{self.first}" + (f"-{self.last}" if self.last > self.first else "")


Segment = Linker | Motif


def parse(text: str) -> tuple[Segment, ...]:
    """The segments of a contig. Raises ValueError naming the segment that cannot be read, and why."""
    inner = text.strip().removeprefix("[").removesuffix("]").strip()
    if not inner:
        raise ValueError(f"--contigs {text!r}: empty; {_EXAMPLE}")
    return tuple(_segment(text, number, word.strip()) for number, word in enumerate(re.split("[/,]", inner), start=1))


def render(segments: Sequence[Segment]) -> str:
    """The contig in letters, which `parse` reads again."""
    return "/".join(map(str, segments))


def _segment(text: str, number: int, word: str) -> Segment:
    where = f"--contigs {text}: segment {number}, {word!r}"
    found = _SEGMENT.fullmatch(word)
    if word == "0" or word.startswith("0 "):
        raise ValueError(f"{where}: a break between chains, and a protein here has one chain; leave it out")
    if not found or found[3] not in (None, "", found[1]):
        raise ValueError(f"{where}, is none; {_EXAMPLE}")
    first, last = int(found[2]), int(found[4] or found[2])
    if last < first:
        raise ValueError(f"{where}: ends before it begins")
    if not found[1]:
        if last > LONGEST_RESIDUES:
            raise ValueError(f"{where}: no protein has more than {LONGEST_RESIDUES:,} residues")
        return Linker(first, last)
    if not first:
        raise ValueError(f"{where}: positions count from 1")
    return Motif(found[1], first, last)
