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
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from d2plm_megatron.alphabet import RESIDUES, SIZE, TOKENS
from d2plm_megatron.files import atomic

_HEADER = struct.Struct("<9sQBQQ")
_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float64", 7: "float32", 8: "uint16"}
_UINT8 = 1
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
        self._bin_path, self._idx_path = paths_of(prefix)
        for path in (self._bin_path, self._idx_path):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing (a dataset is named by its prefix, without .bin or .idx)")
        num_proteins, self.num_documents = _read_counts(self._idx_path)
        self.lengths = self._map("<i4", _HEADER.size, num_proteins)
        self.offsets = self._map("<i8", _HEADER.size + 4 * num_proteins, num_proteins)
        self._documents = self._map("<i8", _HEADER.size + 12 * num_proteins, self.num_documents + 1)
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


def _read_counts(idx_path: Path) -> tuple[int, int]:
    """The numbers of sequences and documents that an .idx says it describes, once its header and its size agree."""
    with idx_path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise ValueError(f"{idx_path} is no index of a Megatron dataset, or is cut off; convert the data again")
    _, version, dtype, num_sequences, num_boundaries = _HEADER.unpack(header)
    if version != _VERSION:
        raise ValueError(f"{idx_path}: format version {version}; only version {_VERSION} is known")
    if dtype != _UINT8:
        found = _TYPES.get(dtype, f"type code {dtype}")
        raise ValueError(
            f"{idx_path}: holds {found}, but proteins are stored as uint8; was it made by lmdb_to_indexed?"
        )
    if num_sequences == 0:
        raise ValueError(f"{idx_path}: the dataset is empty")
    expected = _HEADER.size + 12 * num_sequences + 8 * num_boundaries
    size = idx_path.stat().st_size
    if size != expected or not 1 < num_boundaries <= num_sequences + 1:
        raise ValueError(
            f"{idx_path} has {size:,} bytes, but an index of {num_sequences:,} sequences in {num_boundaries - 1:,} "
            f"documents has {expected:,}; convert the data again"
        )
    return int(num_sequences), int(num_boundaries) - 1


class IndexedWriter:
    """Writes PREFIX.bin and PREFIX.idx, protein by protein: `with IndexedWriter(prefix) as writer: writer.add(ids)`.

    Four bytes of memory per protein. Both files appear when the block ends well, PREFIX.idx last, and neither does
    when it raises. Raises ValueError if no protein was added.
    """

    def __init__(self, prefix: str | Path) -> None:
        self._lengths = array("i")
        self._later_chunks = array("q")
        self._scope = self._files(*paths_of(prefix))

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    def add(self, ids: np.ndarray, continues: bool = False) -> None:
        """Appends one protein: ids, uint8 [residues], without special tokens.

        `continues` is true for the second and later chunks of a protein that is cut into several. Raises ValueError
        for another type, for a protein without residues, and for a first one that continues.
        """
        if ids.dtype != np.uint8 or ids.size == 0:
            raise ValueError(
                f"protein {len(self._lengths)}: {ids.size} ids of {ids.dtype}; expected 1 or more of uint8"
            )
        if continues:
            if not self._lengths:
                raise ValueError("protein 0: there is none before it that it could continue")
            self._later_chunks.append(len(self._lengths))
        self._bin.write(ids.tobytes())
        self._lengths.append(ids.size)

    @contextmanager
    def _files(self, bin_path: Path, idx_path: Path) -> Iterator[None]:
        with atomic(bin_path, idx_path) as (temporary_bin, temporary_idx):
            with temporary_bin.open("wb") as self._bin:
                yield
            if not self._lengths:
                raise ValueError(f"no protein to write to {bin_path}")
            later_chunks = np.array(self._later_chunks, dtype=np.int64)
            _write_index(temporary_idx, np.frombuffer(self._lengths, dtype=np.int32), later_chunks)


def _write_index(path: Path, lengths: np.ndarray, later_chunks: np.ndarray) -> None:
    """Writes an .idx in pieces, since 8-byte arrays of N need not fit.

    Args:
        path: of the file.
        lengths: of the sequences, int32 [N].
        later_chunks: the sequences that no document begins with, int64, ascending.
    """
    num_proteins = len(lengths)
    pieces = [slice(start, start + _PROTEINS_AT_ONCE) for start in range(0, num_proteins, _PROTEINS_AT_ONCE)]
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _UINT8, num_proteins, num_proteins + 1 - len(later_chunks)))
        for piece in pieces:
            file.write(lengths[piece].astype("<i4").tobytes())
        offset = 0
        for piece in pieces:
            ends = offset + np.cumsum(lengths[piece], dtype="<i8")
            file.write((ends - lengths[piece]).tobytes())
            offset = int(ends[-1])
        for piece in pieces:
            sequences = np.arange(piece.start, min(piece.stop, num_proteins), dtype="<i8")
            inside = later_chunks[
                np.searchsorted(later_chunks, piece.start) : np.searchsorted(later_chunks, piece.stop)
            ]
            file.write(np.delete(sequences, inside - piece.start).tobytes())
        file.write(struct.pack("<q", num_proteins))
