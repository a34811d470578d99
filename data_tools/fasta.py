"""FASTA files, plain or gzip: reading, cleaning, writing.

The cleaning policy. What can be mended without inventing residues is mended and counted:
    lower case                    becomes upper case (it marks masked regions in some databases)
    white space                   is removed
    one '*' at the end            is removed: the translated stop codon is no residue
    J (leucine or isoleucine)     becomes X: the alphabet has no letter for it
A record that then is empty or holds anything but the residues LAGVSERTIDPKQNFYMHWC and X B U Z O (a '*' inside, a gap
'-' or '.', a digit, another sign) is skipped and counted by reason; the first five are named with letter and position.
A record of 30 letters or more that are all A, C, G, T, U or N is kept, since it may be a protein, but counted; if all
are like this, and there are ten or more, the file is refused. A file of which nothing remains is refused.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from Bio.SeqIO.FastaIO import SimpleFastaParser

from d2plm_megatron.alphabet import RESIDUE_LETTERS
from d2plm_megatron.files import atomic

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
_LINE_RESIDUES = 60


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


def read_fasta(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (id, sequence) of each record as written; the id is the first word of the header, or record_N without one.

    Raises FileNotFoundError, and ValueError naming the line for an empty file, text before the first header, bytes
    that are no UTF-8 text, damaged gzip, or gzip and the ending .gz not going together.
    """
    for number, (title, sequence) in enumerate(SimpleFastaParser(_read_lines(Path(path))), start=1):
        yield (title.split(maxsplit=1) or [f"record_{number}"])[0], sequence


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
    applies = (not sequence.isupper(), residues.endswith("*"), "J" in residues, bool(_NUCLEOTIDES.fullmatch(whole)))
    return whole, [note for note, true in zip(NOTES, applies, strict=True) if true]


def read_proteins(path: str | Path, tally: Tally) -> Iterator[tuple[str, str]]:
    """Yields (id, clean sequence) of the records that are proteins, and counts what happens in `tally`.

    Raises what read_fasta raises and, at the end, ValueError if no record was a protein or if all look like
    nucleotides.
    """
    for name, sequence in read_fasta(path):
        tally.read += 1
        try:
            residues, notes = clean(sequence)
        except NotAProtein as error:
            tally.skipped[error.reason] += 1
            if len(tally.examples) < _NUM_EXAMPLES:
                tally.examples.append(f"{name}: {error}")
            continue
        tally.kept += 1
        tally.notes.update(notes)
        yield name, residues
    if not tally.kept:
        raise ValueError(f"{path}: none of the {tally.read:,} records is a protein; the first is {tally.examples[0]}")
    if tally.kept == tally.notes[LIKE_NUCLEOTIDES] >= _NUM_TO_REFUSE:
        raise ValueError(
            f"{path}: all {tally.kept:,} sequences consist of A, C, G, T, U and N: these are nucleotides, not "
            "proteins; translate them first"
        )


def write_fasta(path: str | Path, records: Iterable[tuple[str, str]]) -> None:
    """Writes (header without '>', sequence) records, 60 residues to a line; the file appears when it is whole."""
    with atomic(Path(path)) as (temporary,), temporary.open("w", encoding="utf-8") as file:
        for header, sequence in records:
            lines = (sequence[i : i + _LINE_RESIDUES] for i in range(0, len(sequence), _LINE_RESIDUES))
            file.write("\n".join((f">{header}", *lines, "")))


def _read_lines(path: Path) -> Iterator[str]:
    started = False
    number = 0
    with _open(path) as file:
        try:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if not started and line.strip():
                    if not line.startswith(">"):
                        raise ValueError(
                            f"{path}, line {number}: {line.strip()[:40]!r} comes before the first '>' header"
                        )
                    started = True
                yield line
        except UnicodeDecodeError:
            raise ValueError(f"{path}, line {number}: not text in UTF-8; is this a FASTA file?") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: gzip data damaged after line {number} ({error}); fetch it again") from None
    if not started:
        raise ValueError(f"{path}: empty, no record in it")


@contextmanager
def _open(path: Path) -> Iterator[Iterable[bytes]]:
    with path.open("rb") as file:
        head = file.peek(2)[:2]
        packed = head == b"\x1f\x8b"
        if packed and path.suffix != ".gz":
            raise ValueError(f"{path}: compressed by gzip, but not named so; rename it to {path.name}.gz")
        if head and not packed and path.suffix == ".gz":
            raise ValueError(f"{path}: named .gz, but not compressed by gzip")
        yield gzip.GzipFile(fileobj=file) if packed else file
