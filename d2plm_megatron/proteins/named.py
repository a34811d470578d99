"""Proteins from FASTA, with the family or the checkpoint that a header may tell."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_records

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
    """All proteins of a FASTA file, plain or compressed, in upper case, without a stop (*) at the end.

    Raises what fasta.read_records raises, and ValueError naming a record without residues or with a letter that is
    none.
    """
    return list(each_protein(path))


def each_protein(path: Path, wanted: Callable[[int], bool] = lambda place: True) -> Iterator[Protein]:
    """Yields the proteins of a FASTA file whose place, from 0, is wanted. The letters of the others do not matter.

    Raises what read_proteins raises.
    """
    for place, record in enumerate(read_records(path)):
        if wanted(place):
            yield _protein(path, *record)


def _protein(path: Path, header: str, letters: str) -> Protein:
    name = header.split(maxsplit=1)[0]
    sequence = letters.upper().removesuffix("*")
    if not sequence:
        raise ValueError(f"{path}, record {name}: no residue in it")
    try:
        alphabet.encode(sequence)
    except ValueError as error:
        raise ValueError(f"{path}, record {name}: {error}") from None
    family, step = _FAMILY.search(header), _STEP.search(header)
    return Protein(name, family[1] if family else None, sequence, int(step[1]) if step else None)
