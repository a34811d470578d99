"""Proteins from FASTA, plain or gzip, with the family or the checkpoint that a header may tell."""

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from Bio.SeqIO.FastaIO import SimpleFastaParser

from d2plm_megatron import alphabet

_FAMILY = re.compile(r"(?:^|\s)family=(\S+)")
_STEP = re.compile(r"(?:^|\s)checkpoint_step=(\d{1,18})(?=\s|$)")


@dataclass(frozen=True)
class Protein:
    """A record of a FASTA file.

    Attributes:
        name: first word of the header.
        family: from `family=NAME` in the header, as data_tools.simulate writes it; None without.
        sequence: upper-case residue letters, at least one.
        step: of the checkpoint that generated it, from `checkpoint_step=N`, as generation writes it; None without.
    """

    name: str
    family: str | None
    sequence: str
    step: int | None = None


def read_proteins(path: Path) -> list[Protein]:
    """All proteins of a FASTA file (gzip if it ends in .gz), in upper case, without a stop (*) at the end.

    Raises ValueError naming the file, and the record where there is one, for: no record, text before the first
    header, damaged gzip, what is no text, a record without residues or with a letter that is none.
    """
    try:
        with _open(path) as file:
            if not file.read(1).startswith(">"):
                raise ValueError(f"{path}: not FASTA, or empty: expected '>' at the start")
            file.seek(0)
            return [_protein(path, *record) for record in SimpleFastaParser(file)]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not text in UTF-8; is this a FASTA file?") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: gzip data damaged ({error})") from None


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _protein(path: Path, header: str, letters: str) -> Protein:
    name = (header.split(maxsplit=1) or ["(without a name)"])[0]
    sequence = letters.upper().removesuffix("*")
    if not sequence:
        raise ValueError(f"{path}, record {name}: no residue in it")
    try:
        alphabet.encode(sequence)
    except ValueError as error:
        raise ValueError(f"{path}, record {name}: {error}") from None
    family, step = _FAMILY.search(header), _STEP.search(header)
    return Protein(name, family[1] if family else None, sequence, int(step[1]) if step else None)
