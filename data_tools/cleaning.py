"""The cleaning policy: which records are proteins, what is mended, what is counted and what is skipped.

What can be mended without inventing residues is mended and counted:
    lower case                    becomes upper case (it marks masked regions in some databases)
    white space                   is removed
    one '*' at the end            is removed: the translated stop codon is no residue
    J (leucine or isoleucine)     becomes X: the alphabet has no letter for it
    X B U Z O                     stay: the alphabet has them; they are read but never scored
A record that then is empty, or longer than 100,000 residues (no protein known is half as long), or holds anything but
the residues LAGVSERTIDPKQNFYMHWC and X B U Z O (a '*' inside, a gap '-' or '.', a digit, another sign) is skipped and
counted by reason; the first five are named with letter and position.
A record of 30 letters or more that are all A, C, G, T, U or N is kept, since it may be a protein, but counted; if all
are like this, and there are ten or more, the file is refused. A file of which nothing remains is refused.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from d2plm_megatron.alphabet import LONGEST_RESIDUES, RESIDUE_LETTERS
from data_tools.fasta import read_fasta

UPPER_CASED = "upper-cased"
STOP_REMOVED = "stop (*) removed at the end"
J_TO_X = "J (leucine or isoleucine) became X"
LIKE_NUCLEOTIDES = "looks like nucleotides, kept"
NOTES = (UPPER_CASED, STOP_REMOVED, J_TO_X, LIKE_NUCLEOTIDES)

_NO_RESIDUE = re.compile(f"[^{RESIDUE_LETTERS}]")
_NUCLEOTIDES = re.compile("[ACGTUN]{30,}")
_REASONS = {"*": "stop (*) inside", "-": "gap (- or .)", ".": "gap (- or .)"} | dict.fromkeys("0123456789", "digit")
_NUM_EXAMPLES = 5
_NUM_TO_REFUSE = 10


class NotAProtein(ValueError):
    """A record that the cleaning policy skips; `reason` is the class it is counted in."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Tally:
    """What happened to the records of a file: all read, how many had which note, were skipped for which reason.

    `examples` describes the first skipped records, one line each.
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
            self.examples.append(f"{name}: {error}")

    def absorb(self, other: "Tally") -> None:
        """Adds what happened to further records."""
        self.read += other.read
        self.kept += other.kept
        self.notes.update(other.notes)
        self.skipped.update(other.skipped)
        self.examples = (self.examples + other.examples)[:_NUM_EXAMPLES]

    def check(self, source: str | Path) -> None:
        """Raises ValueError if of all records none was a protein, or if all look like nucleotides."""
        if not self.kept:
            raise ValueError(
                f"{source}: none of the {self.read:,} records is a protein; the first is {self.examples[0]}"
            )
        if self.kept == self.notes[LIKE_NUCLEOTIDES] >= _NUM_TO_REFUSE:
            raise ValueError(
                f"{source}: all {self.kept:,} sequences consist of A, C, G, T, U and N: these are nucleotides, not "
                "proteins; translate them first"
            )


def clean(sequence: str) -> tuple[str, list[str]]:
    """The sequence in upper-case residue letters, and which of NOTES apply; see the policy above.

    Raises NotAProtein for an empty one, or naming the first letter that is no residue and its position (from 1).
    """
    residues = "".join(sequence.split())
    if residues.isascii():  # upper() turns some other letters into two, or into ASCII
        residues = residues.upper()
    whole = residues.removesuffix("*").replace("J", "X")
    wrong = _NO_RESIDUE.search(whole)
    if wrong:
        letter = wrong.group()
        reason = _REASONS.get(letter, "other character")
        raise NotAProtein(reason, f"{letter!r} at position {wrong.start() + 1} is no residue")
    if not whole:
        raise NotAProtein("empty", "no residue in it")
    if len(whole) > LONGEST_RESIDUES:
        raise NotAProtein("longer than any protein", f"{len(whole):,} residues; were several records joined?")
    applies = (not sequence.isupper(), residues.endswith("*"), "J" in residues, bool(_NUCLEOTIDES.fullmatch(whole)))
    return whole, [note for note, true in zip(NOTES, applies, strict=True) if true]


def clean_records(
    records: Iterable[tuple[str, str]],
    tally: Tally,
    on_skip: Callable[[str, NotAProtein], None] = lambda name, error: None,
    check: Callable[[str], None] = lambda residues: None,
) -> Iterator[tuple[str, str]]:
    """Yields (id, clean sequence) of the records that are proteins; counts in `tally`, calls on_skip for the rest.

    `check` may raise NotAProtein for a clean sequence that is not wanted.
    """
    for name, sequence in records:
        tally.read += 1
        try:
            residues, notes = clean(sequence)
            check(residues)
        except NotAProtein as error:
            tally.skip(name, error)
            on_skip(name, error)
            continue
        tally.kept += 1
        if notes:
            tally.notes.update(notes)
        yield name, residues


def read_proteins(path: str | Path, tally: Tally) -> Iterator[tuple[str, str]]:
    """Yields (id, clean sequence) of the records of a FASTA file that are proteins, and counts in `tally`.

    Raises what read_fasta raises and, at the end, what Tally.check raises.
    """
    yield from clean_records(read_fasta(path), tally)
    tally.check(path)
