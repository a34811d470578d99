"""Indexed proteins: Megatron's indexed dataset, a pair of files PREFIX.bin and PREFIX.idx, with numpy alone.

PREFIX.bin holds one byte per residue, its id (see alphabet.py), protein after protein, without special tokens.
PREFIX.idx says where each protein lies (see index.py).

A document is a protein. Usually each is one sequence, so that D = N and the boundaries are 0, 1, ..., N. A long protein
may be cut into several sequences, its chunks. Chunks are drawn like proteins, and differ from them only in their ends.

megatron-core's IndexedDatasetBuilder writes the same bytes for the same proteins, and its IndexedDataset reads these
files. Only the checksums beside them (see checksums.py) are an addition of ours.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.data.checksums import Checksums, Sum, sample_of
from d2plm_megatron.data.index import Index
from d2plm_megatron.data.mapped import MappedFile
from d2plm_megatron.data.meant import meant_by
from d2plm_megatron.proteins.alphabet import RESIDUES, SIZE, TOKENS

_RESIDUES_AT_ONCE = 1 << 22


def paths_of(prefix: str | Path) -> tuple[Path, Path]:
    """The two files of a dataset: PREFIX.bin and PREFIX.idx."""
    return Path(f"{prefix}.bin"), Path(f"{prefix}.idx")


class IndexedProteins:
    """The proteins of PREFIX.bin and PREFIX.idx, mapped into memory and read when asked for.

    `dataset[i]` is protein (or chunk) i as ids, uint8 [residues], read-only; `len(dataset)` is their number, N.

    Attributes:
        residues: PREFIX.bin as it is, uint8 [all residues].
        num_documents: how many proteins there are if the chunks of one count once, D.

    Opening compares the files' sizes with their header and with the first and last entries, which takes the same time
    for any N. It raises FileNotFoundError if one of the files is missing, and ValueError, saying what does not fit, if
    they are no dataset of proteins or not the two halves of one. `checked` and `pieces` tell where proteins lie, and
    raise ValueError naming a protein whose entry is damaged. `verify` reads everything.
    """

    def __init__(self, prefix: str | Path) -> None:
        self.prefix = str(prefix)
        bin_path, idx_path = paths_of(prefix)
        for path in (bin_path, idx_path):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing ({meant_by(self.prefix)})")
        self._file = MappedFile(bin_path)
        self.residues = self._file.content
        self._index = Index(idx_path, len(self.residues))
        self.num_documents = self._index.num_documents

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> np.ndarray:
        [length], [offset] = self.checked(np.array([range(len(self))[index]]))
        return self.residues[offset : offset + length]

    def checked(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(residues, first byte in PREFIX.bin) of these proteins, all int64 [n]; proteins count from 0 to N - 1.

        Raises ValueError naming the first protein whose entry is damaged, or the file that has shrunk.
        """
        self._file.check_size()
        return self._index.checked(chosen)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields what `checked` gives, for all proteins in order, about a million at a time."""
        return self._index.pieces()

    def document_starts(self) -> Iterator[np.ndarray]:
        """Yields the first sequence of every document, int64, some at a time. Raises ValueError if they do not rise."""
        return self._index.document_starts()

    def begins_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, begins with the first residue of its protein, bool; a later chunk does not.

        Raises ValueError where the document boundaries are damaged.
        """
        return self._index.is_boundary(chosen)

    def ends_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, ends with the last residue of its protein, bool; an earlier chunk does not.

        Raises ValueError where the document boundaries are damaged.
        """
        return self._index.is_boundary(chosen + 1)

    def check_size(self) -> None:
        """Raises ValueError if PREFIX.bin has shrunk since it was opened; see MappedFile."""
        self._file.check_size()

    def verified(self) -> Iterator[np.ndarray]:
        """Yields all residues in order, uint8, some million at a time, and checks everything on the way.

        Raises ValueError naming the first protein or document whose entry is damaged, the protein and position (from
        1) of an id that is no residue or, at the end, the file that does not have the checksum beside it.
        """
        known, found = self.checksums(), Sum()
        for entries in (self.pieces(), self.document_starts()):
            for _ in entries:
                pass
        for start in range(0, len(self.residues), _RESIDUES_AT_ONCE):
            self.check_size()
            some = self.residues[start : start + _RESIDUES_AT_ONCE]
            wrong = np.flatnonzero((some < RESIDUES.start) | (some >= RESIDUES.stop))
            if wrong.size:
                raise ValueError(self.no_residue(*self._index.place_of(start + int(wrong[0]))))
            found.add(some.data)
            yield some
        if known:
            known.compare(self.prefix, Checksums(found.result(), Sum(self._index.file.content.data).result()))

    def verify(self, advance: Callable[[int], object] = lambda num_residues: None) -> np.ndarray:
        """Reads everything, and returns how often each id occurs, int64 [SIZE]. Raises what `verified` raises.

        `advance` is told how many residues were read.
        """
        counts = np.zeros(SIZE, dtype=np.int64)
        for some in self.verified():
            counts += np.bincount(some, minlength=SIZE)
            advance(len(some))
        return counts

    def checksums(self) -> Checksums | None:
        """The checksums beside the dataset, or None. Raises ValueError if they are damaged or belong to other data."""
        return Checksums.beside(self.prefix)

    def identity(self) -> dict[str, Any]:
        """What tells these data from others, as JSON. It takes about the same time for any N.

        It has the numbers of `proteins` and `residues`, as `sample` BLAKE2b of both files' sizes and of a MiB of each,
        and as `checksum` that of both files as they were written, None if there are no checksums beside them. Raises
        ValueError if the checksums are damaged or belong to other data.
        """
        known = self.checksums()
        return {
            "proteins": len(self),
            "residues": len(self.residues),
            "sample": sample_of([self._file, self._index.file]),
            "checksum": known and known.both,
        }

    def no_residue(self, protein: int, position: int) -> str:
        """A sentence about a byte of a protein that is no residue; its position counts from 0."""
        wrong = int(self[protein][position])
        name = f" ({TOKENS[wrong]})" if wrong < SIZE else ""
        return f"{self._file.path}: protein {protein}, position {position + 1}: id {wrong}{name} is no residue"
