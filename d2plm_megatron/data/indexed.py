"""Indexed proteins: Megatron's indexed dataset, a pair of files PREFIX.bin and PREFIX.idx, with numpy alone.

PREFIX.bin holds one byte per residue, its id (see alphabet.py), protein after protein, without special tokens.
PREFIX.idx says where each lies (see index.py).

A document is a protein. Most are one sequence, so that D = N and the boundaries are 0, 1, ..., N; a long protein may be
cut into several, its chunks, which are drawn like proteins of their own and differ from them in their ends alone.

megatron-core's IndexedDatasetBuilder writes the same bytes for the same proteins, and its IndexedDataset reads these
files. What is more, the checksums beside them (see checksums.py), is ours.
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

    residues        uint8 [all residues], PREFIX.bin as it is
    num_documents   D, proteins when the chunks of one count once

    Opening takes the same time for any N: it compares the files' sizes with their header and the first and last
    entries. Where proteins lie is asked of `checked` and `pieces` alone, which raise ValueError naming the protein
    whose entry is damaged; `verify` reads everything. Raises FileNotFoundError if one of the files is missing and
    ValueError, saying what does not fit, if they are no dataset of proteins or not the two halves of one.
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
        """Of these, int64 [n] from 0 to N - 1: (residues, byte of PREFIX.bin at which each starts), both int64 [n].

        Raises ValueError naming the first whose entry is damaged, or the file that has shrunk.
        """
        self._file.check_size()
        return self._index.checked(chosen)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What `checked` gives of all proteins, in order, a million or so at a time."""
        return self._index.pieces()

    def document_starts(self) -> Iterator[np.ndarray]:
        """The first sequence of every document, int64, in order, some at a time; raises ValueError where damaged."""
        return self._index.document_starts()

    def begins_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, begins with its protein's first residue: bool, false for a later chunk.

        Raises ValueError where the document boundaries are damaged.
        """
        return self._index.is_boundary(chosen)

    def ends_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, ends with its protein's last residue: bool, false for an earlier chunk.

        Raises ValueError where the document boundaries are damaged.
        """
        return self._index.is_boundary(chosen + 1)

    def check_size(self) -> None:
        """Raises ValueError if PREFIX.bin has shrunk since it was opened; see MappedFile."""
        self._file.check_size()

    def verified(self) -> Iterator[np.ndarray]:
        """All residues in order, uint8, some million at a time; everything is checked on the way.

        Raises ValueError naming the first protein or document whose entry is damaged, the protein and position (from
        1) of an id of no residue, or, at the end, the file that is not the one of the checksums beside it.
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
        """Reads everything; returns how often each id occurs, int64 [SIZE]. Raises what `verified` raises.

        `advance` is told the residues done.
        """
        counts = np.zeros(SIZE, dtype=np.int64)
        for some in self.verified():
            counts += np.bincount(some, minlength=SIZE)
            advance(len(some))
        return counts

    def checksums(self) -> Checksums | None:
        """Those that lie beside the dataset, None without. Raises ValueError if they are damaged or of other data."""
        return Checksums.beside(self.prefix)

    def identity(self) -> dict[str, Any]:
        """What tells these data from others, for JSON; takes about the same time for any N.

        proteins, residues   their numbers
        sample               BLAKE2b of both files' sizes and of pieces of them, a MiB of each
        checksum             of both files as they were written; None where no checksums lie beside them

        Raises ValueError if the checksums are damaged or of other data.
        """
        known = self.checksums()
        return {
            "proteins": len(self),
            "residues": len(self.residues),
            "sample": sample_of([self._file, self._index.file]),
            "checksum": known and known.both,
        }

    def no_residue(self, protein: int, position: int) -> str:
        """Says what is wrong with the byte at this position, from 0, of a protein."""
        wrong = int(self[protein][position])
        name = f" ({TOKENS[wrong]})" if wrong < SIZE else ""
        return f"{self._file.path}: protein {protein}, position {position + 1}: id {wrong}{name} is no residue"
