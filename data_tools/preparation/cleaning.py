"""The cleaning policy: which records are proteins, what is normalised, what is counted and what is skipped.

What can be normalised without inventing residues is normalised and counted:
    lower case                    becomes upper case (it marks masked regions in some databases)
    white space                   is removed
    one '*' at the end            is removed: the translated stop codon is no residue
    gaps '-' and '.'              are removed if that is asked for, which is right for alignments
    J (leucine or isoleucine)     becomes X: the alphabet has no letter for it
    X B U Z O                     stay: the alphabet has them; they are read but never scored
A record is skipped and counted by reason if it is empty after this, if it is longer than 100,000 residues (no protein
known is half as long), or if it holds anything but the residues LAGVSERTIDPKQNFYMHWC and X B U Z O: a '*' inside, a gap
'-' or '.', a digit, another sign. The first five are named with letter and position. HH-suite's records of secondary
structure (ss_pred, ss_conf, ss_dssp, sa_dssp) are skipped, too. A file most of whose records have gaps is an alignment,
and refused. A record of 30 letters or more that are all A, C, G, T, U or N may be a protein, so that it is kept and
counted. If all records are like this, and there are ten or more, the file is refused. So is a file of which nothing
remains.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from d2plm_megatron.console import one_line
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES, RESIDUE_LETTERS

GAPS = ("skip", "remove")
UPPER_CASED = "upper-cased"
STOP_REMOVED = "stop (*) removed at the end"
GAPS_REMOVED = "gaps (- or .) removed"
J_TO_X = "J (leucine or isoleucine) became X"
LIKE_NUCLEOTIDES = "looks like nucleotides, kept"
NOTES = (UPPER_CASED, STOP_REMOVED, GAPS_REMOVED, J_TO_X, LIKE_NUCLEOTIDES)
GAP = "gap (- or .)"

_NO_RESIDUE = re.compile(f"[^{RESIDUE_LETTERS}]")
_NUCLEOTIDES = re.compile("[ACGTUN]{30,}")
_REASONS = {"*": "stop (*) inside", "-": GAP, ".": GAP} | dict.fromkeys("0123456789", "digit")
_NO_GAPS = str.maketrans("", "", "-.")
_STRUCTURES = frozenset({"ss_pred", "ss_conf", "ss_dssp", "sa_dssp"})
_NUM_EXAMPLES = 5
_NUM_TO_REFUSE = 10


class NotAProtein(ValueError):
    """A record that the cleaning policy skips; `reason` is the class it is counted in."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Tally:
    """What happened to the records of a file.

    Attributes:
        read: how many there were.
        kept: how many were proteins.
        notes: how many of these have each of NOTES.
        skipped: how many records were skipped for each reason.
        examples: the first skipped records, described in one line each.
    """

    read: int = 0
    kept: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def skip(self, name: str, error: NotAProtein) -> None:
        """Counts a record that is no protein."""
        self.skipped[error.reason] += 1
        if len(self.examples) < _NUM_EXAMPLES:
            self.examples.append(one_line(f"{name}: {error}"))

    def add(self, other: "Tally") -> None:
        """Adds what happened to further records."""
        self.read += other.read
        self.kept += other.kept
        self.notes.update(other.notes)
        self.skipped.update(other.skipped)
        self.examples = (self.examples + other.examples)[:_NUM_EXAMPLES]

    def check(self, source: str | Path) -> None:
        """Raises ValueError if none of the records was a protein, most have gaps, or all look like nucleotides."""
        if 2 * self.skipped[GAP] > self.read:
            raise ValueError(
                f"{source}: {self.skipped[GAP]:,} of {self.read:,} records hold gaps (- or .), as in an alignment; "
                "--gaps remove takes them out"
            )
        if not self.kept:
            raise ValueError(
                f"{source}: none of the {self.read:,} records is a protein; the first is {self.examples[0]}"
            )
        if self.kept == self.notes[LIKE_NUCLEOTIDES] >= _NUM_TO_REFUSE:
            raise ValueError(
                f"{source}: all {self.kept:,} sequences consist of A, C, G, T, U and N: these are nucleotides, not "
                "proteins; translate them first"
            )


def check_gaps(gaps: str) -> None:
    """Raises ValueError if `gaps` is none of GAPS."""
    if gaps not in GAPS:
        raise ValueError(f"--gaps {gaps}: expected {', '.join(GAPS)}")


def clean(sequence: str, gaps: str = "skip") -> tuple[str, list[str]]:
    """The sequence in upper-case residue letters by the policy above, and those of NOTES that apply.

    `gaps` is one of GAPS. Raises NotAProtein for an empty sequence, for one that is too long, and naming the first
    letter that is no residue with its position, counted from 1.
    """
    residues = "".join(sequence.split())
    if residues.isascii():  # upper() turns some other letters into two, or into ASCII
        residues = residues.upper()
    letters = residues.translate(_NO_GAPS) if gaps == "remove" else residues
    whole = letters.removesuffix("*").replace("J", "X")
    wrong = _NO_RESIDUE.search(whole)
    if wrong:
        letter = wrong.group()
        reason = _REASONS.get(letter, "other character")
        raise NotAProtein(reason, f"{letter!r} at position {wrong.start() + 1} is no residue")
    if not whole:
        raise NotAProtein("empty", "no residue in it")
    if len(whole) > LONGEST_RESIDUES:
        raise NotAProtein("longer than any protein", f"{len(whole):,} residues; were several records joined?")
    has_gaps, is_nucleotides = len(letters) < len(residues), bool(_NUCLEOTIDES.fullmatch(whole))
    applies = (not sequence.isupper(), letters.endswith("*"), has_gaps, "J" in letters, is_nucleotides)
    return whole, [note for note, true in zip(NOTES, applies, strict=True) if true]


def clean_records(
    records: Iterable[tuple[str, str]],
    tally: Tally,
    on_skip: Callable[[str, NotAProtein], None] = lambda name, error: None,
    check: Callable[[str], None] = lambda residues: None,
    gaps: str = "skip",
) -> Iterator[tuple[str, str]]:
    """Yields (id, clean sequence) of the records that are proteins; counts in `tally`, and calls on_skip for others.

    `check` may raise NotAProtein for a clean sequence that is not wanted.
    """
    for name, sequence in records:
        tally.read += 1
        try:
            if name.split(maxsplit=1)[0] in _STRUCTURES:
                raise NotAProtein("secondary structure", "a record of secondary structure, as HH-suite writes it")
            residues, notes = clean(sequence, gaps)
            check(residues)
        except NotAProtein as error:
            tally.skip(name, error)
            on_skip(name, error)
            continue
        tally.kept += 1
        if notes:
            tally.notes.update(notes)
        yield name, residues
