"""Indexed proteins: Megatron's indexed dataset, a pair of files PREFIX.bin and PREFIX.idx, with numpy alone.

PREFIX.bin holds one byte per residue, its id (see alphabet.py), protein after protein, without special tokens.
PREFIX.idx says where each of the N sequences lies; little-endian, packed:

    9 bytes      magic, MMIDIDX and two zero bytes
    uint64       version, 1
    uint8        code of the residues' type, 1 = uint8
    uint64       number of sequences, N
    uint64       number of document boundaries, D + 1
    int32 [N]    lengths, residues
    int64 [N]    offsets of the first residues in PREFIX.bin, bytes
    int64 [D+1]  document boundaries: document d is the sequences from boundary d to boundary d + 1

A document is a protein. Most are one sequence, so that D = N and the boundaries are 0, 1, ..., N; a long protein may be
cut into several, its chunks, which are drawn like proteins of their own and differ from them in their ends alone.

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.1, whose IndexedDatasetBuilder writes the same
bytes for the same proteins and whose IndexedDataset reads these files.
"""

import os
import struct
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np

from d2plm_megatron.alphabet import RESIDUES, SIZE, TOKENS

HEADER = struct.Struct("<9sQBQQ")
MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float64", 7: "float32", 8: "uint16"}
UINT8 = 1
_PROTEINS_AT_ONCE = 1 << 20
_RESIDUES_AT_ONCE = 1 << 22


def paths_of(prefix: str | Path) -> tuple[Path, Path]:
    """The two files of a dataset: PREFIX.bin and PREFIX.idx."""
    return Path(f"{prefix}.bin"), Path(f"{prefix}.idx")


class IndexedProteins:
    """The proteins of PREFIX.bin and PREFIX.idx, mapped into memory and read when asked for.

    `dataset[i]` is protein (or chunk) i as ids, uint8 [residues], read-only; `len(dataset)` is their number.

    lengths         int32 [N], residues of each protein
    offsets         int64 [N], byte of PREFIX.bin at which each protein starts
    residues        uint8 [all residues], PREFIX.bin as it is
    num_documents   D, proteins when the chunks of one count once

    Opening takes the same time for any N: it compares the files' sizes with their header and the first and last
    entries; `verify` reads everything. Raises FileNotFoundError if one of the files is missing and ValueError, saying
    what does not fit, if they are no dataset of proteins or not the two halves of one.
    """

    def __init__(self, prefix: str | Path) -> None:
        self.prefix = str(prefix)
        self._bin_path, self._idx_path = paths_of(prefix)
        for path in (self._bin_path, self._idx_path):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing (a dataset is named by its prefix, without .bin or .idx)")
        num_proteins, self.num_documents = read_counts(self._idx_path)
        self.lengths = self._map("<i4", HEADER.size, num_proteins)
        self.offsets = self._map("<i8", HEADER.size + 4 * num_proteins, num_proteins)
        self._documents = self._map("<i8", HEADER.size + 12 * num_proteins, self.num_documents + 1)
        self._check_ends()
        with self._bin_path.open("rb") as file:
            self.residues = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
            self._bin = os.dup(file.fileno())  # the file that is mapped, whatever comes to bear its name
        weakref.finalize(self, os.close, self._bin)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        start = int(self.offsets[index])
        return self.residues[start : start + int(self.lengths[index])]

    def begins_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, begins with its protein's first residue: bool, false for a later chunk."""
        return self._is_boundary(chosen)

    def ends_protein(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each of these, int64, ends with its protein's last residue: bool, false for an earlier chunk."""
        return self._is_boundary(chosen + 1)

    def check_size(self) -> None:
        """Raises ValueError if PREFIX.bin has shrunk since it was opened: touching what is gone would end the process.

        Costs a microsecond, for any size.
        """
        size = os.fstat(self._bin).st_size
        if size < len(self.residues):
            raise ValueError(
                f"{self._bin_path} has shrunk from {len(self.residues):,} to {size:,} bytes while it was read; "
                "put the same data back and start again: a run continues from its last checkpoint"
            )

    def verify(self, advance: Callable[[int], object] = lambda num_residues: None) -> np.ndarray:
        """Reads everything; returns how often each id occurs, int64 [SIZE].

        `advance` is told the residues done. Raises ValueError naming the first protein (from 0) that does not follow
        its predecessor, or that holds an id of no residue, with the position (from 1).
        """
        self._verify_index()
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(self.residues), _RESIDUES_AT_ONCE):
            chunk = self.residues[start : start + _RESIDUES_AT_ONCE]
            counts += np.bincount(chunk, minlength=256)
            if counts.sum() != counts[RESIDUES].sum():
                wrong = np.flatnonzero((chunk < RESIDUES.start) | (chunk >= RESIDUES.stop))
                raise ValueError(self.no_residue_at(start + int(wrong[0])))
            advance(len(chunk))
        return counts[:SIZE]

    def _map(self, dtype: str, offset: int, count: int) -> np.ndarray:
        mapped = np.memmap(self._idx_path, dtype=dtype, mode="r", offset=offset, shape=(count,))
        return mapped.view(np.ndarray)  # the same memory; slicing an np.memmap object takes several times as long

    def _is_boundary(self, sequences: np.ndarray) -> np.ndarray:
        if self.num_documents == len(self):
            return np.ones(len(sequences), dtype=bool)
        return self._documents[np.searchsorted(self._documents, sequences)] == sequences

    def _check_ends(self) -> None:
        if self.offsets[0] != 0 or self._documents[0] != 0 or self._documents[-1] != len(self):
            raise ValueError(f"{self._idx_path} is damaged; convert the data again")
        described = int(self.offsets[-1]) + int(self.lengths[-1])
        size = self._bin_path.stat().st_size
        if size != described or size == 0:
            difference = f"{described - size:,} are missing" if size <= described else f"{size - described:,} too many"
            raise ValueError(
                f"{self._bin_path} has {size:,} bytes where {self._idx_path} describes {described:,}: {difference}; "
                "convert the data again"
            )

    def _verify_index(self) -> None:
        expected = 0
        for start in range(0, len(self), _PROTEINS_AT_ONCE):
            here = slice(start, start + _PROTEINS_AT_ONCE)
            ends = expected + np.cumsum(self.lengths[here], dtype=np.int64)
            starts = np.concatenate(([expected], ends[:-1]))
            wrong = np.flatnonzero((self.lengths[here] <= 0) | (self.offsets[here] != starts))
            if wrong.size:
                raise ValueError(
                    f"{self._idx_path}: the entry of protein {start + int(wrong[0])} is damaged; convert the data again"
                )
            expected = int(ends[-1])
        for start in range(0, self.num_documents, _PROTEINS_AT_ONCE):
            wrong = np.flatnonzero(np.diff(self._documents[start : start + _PROTEINS_AT_ONCE + 1]) <= 0)
            if wrong.size:
                name = f"the entry of document {start + int(wrong[0])}"
                raise ValueError(f"{self._idx_path}: {name} is damaged; convert the data again")

    def no_residue_at(self, place: int) -> str:
        """Says which protein and position the byte at `place` of PREFIX.bin belongs to, and what is wrong with it."""
        protein = int(np.searchsorted(self.offsets, place, side="right")) - 1
        wrong = int(self.residues[place])
        name = f" ({TOKENS[wrong]})" if wrong < SIZE else ""
        position = place - int(self.offsets[protein]) + 1
        return f"{self._bin_path}: protein {protein}, position {position}: id {wrong}{name} is no residue"


def read_counts(idx_path: Path) -> tuple[int, int]:
    """The numbers of sequences and documents that an .idx says it describes, once its header and its size agree."""
    with idx_path.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise ValueError(f"{idx_path} is no index of a Megatron dataset, or is cut off; convert the data again")
    _, version, dtype, num_sequences, num_boundaries = HEADER.unpack(header)
    if version != VERSION:
        raise ValueError(f"{idx_path}: format version {version}; only version {VERSION} is known")
    if dtype != UINT8:
        found = _TYPES.get(dtype, f"type code {dtype}")
        raise ValueError(
            f"{idx_path}: holds {found}, but proteins are stored as uint8; was it made by lmdb_to_indexed?"
        )
    if num_sequences == 0:
        raise ValueError(f"{idx_path}: the dataset is empty")
    expected = HEADER.size + 12 * num_sequences + 8 * num_boundaries
    size = idx_path.stat().st_size
    if size != expected or not 1 < num_boundaries <= num_sequences + 1:
        raise ValueError(
            f"{idx_path} has {size:,} bytes, but an index of {num_sequences:,} sequences in {num_boundaries - 1:,} "
            f"documents has {expected:,}; convert the data again"
        )
    return int(num_sequences), int(num_boundaries) - 1
