"""Given proteins, read one by one: looked through before any work, so that nothing breaks in the middle."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.proteins import alphabet


@dataclass(frozen=True)
class Given:
    """What is in a file of proteins.

    Attributes:
        path: of the file, or the prefix of a dataset.
        ids: of the proteins, in order, each once.
        lengths: their residues.
    """

    path: Path
    ids: tuple[str, ...]
    lengths: tuple[int, ...]

    @classmethod
    def look_through(cls, path: Path, scored: bool = False) -> "Given":
        """Reads the file once, and keeps ids and lengths.

        Args:
            path: FASTA, plain or compressed, or the prefix of an indexed dataset.
            scored: each protein must have a canonical residue.

        Raises what read_whole raises, and ValueError naming the record that is empty, holds a letter that is no
        residue, has nothing to score, or has the id of another.
        """
        lengths: dict[str, int] = {}
        for name, residues in read_given(path):
            if name in lengths:
                numbers = f"records {list(lengths).index(name) + 1} and {len(lengths) + 1}"
                raise ValueError(f"{path}: {numbers} have the same id, {name}; give each its own")
            if scored and not alphabet.is_canonical(residues).any():
                raise ValueError(f"{path}, record {name}: has no canonical residue, so that there is nothing to score")
            lengths[name] = len(residues)
        return cls(path, tuple(lengths), tuple(lengths.values()))


def read_given(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (id, ids of the residues, uint8) of each protein, whole. Raises what read_whole raises."""
    for protein in read_whole(path):
        yield protein.name, alphabet.encode(protein.sequence)


def encoded(where: str, letters: str) -> np.ndarray:
    """Ids of a protein's residues, uint8. Raises ValueError saying where a letter is that is none, or where none is."""
    try:
        residues = alphabet.encode(letters.upper().removesuffix("*"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not len(residues):
        raise ValueError(f"{where}: no residue in it")
    return residues
