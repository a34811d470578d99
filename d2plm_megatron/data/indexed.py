"""Indexed proteins: Megatron's indexed dataset, a pair of files PREFIX.bin and PREFIX.idx, with numpy alone.

PREFIX.bin holds one byte per residue, its id (see alphabet.py), protein after protein, without special tokens.
PREFIX.idx says where each of the N proteins lies; little-endian, packed:

    9 bytes      magic, MMIDIDX and two zero bytes
    uint64       version, 1
    uint8        code of the residues' type, 1 = uint8
    uint64       number of sequences, N
    uint64       number of document boundaries, N + 1
    int32 [N]    lengths, residues
    int64 [N]    offsets of the first residues in PREFIX.bin, bytes
    int64 [N+1]  document boundaries 0, 1, ..., N: one protein is one sequence is one document

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.1, whose IndexedDatasetBuilder writes the same
bytes for the same proteins and whose IndexedDataset reads these files.
"""

import struct
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

    `dataset[i]` is protein i as ids, uint8 [residues], read-only; `len(dataset)` is the number of proteins.

    lengths    int32 [N], residues of each protein
    offsets    int64 [N], byte of PREFIX.bin at which each protein starts
    residues   uint8 [all residues], PREFIX.bin as it is

    Opening takes the same time for any N: it compares the files' sizes with their header and the first and last
    entries; `verify` reads everything. Raises FileNotFoundError if one of the files is missing and ValueError, saying
    what does not fit, if they are no dataset of proteins or not the two halves of one.
    """

    def __init__(self, prefix: str | Path) -> None:
        self._bin_path, self._idx_path = paths_of(prefix)
        for path in (self._bin_path, self._idx_path):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing (a dataset is named by its prefix, without .bin or .idx)")
        num_proteins = _read_num_proteins(self._idx_path)
        self.lengths = self._map("<i4", _HEADER.size, num_proteins)
        self.offsets = self._map("<i8", _HEADER.size + 4 * num_proteins, num_proteins)
        self._documents = self._map("<i8", _HEADER.size + 12 * num_proteins, num_proteins + 1)
        self._check_ends()
        self.residues = np.memmap(self._bin_path, dtype=np.uint8, mode="r").view(np.ndarray)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        start = int(self.offsets[index])
        return self.residues[start : start + int(self.lengths[index])]

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

    def _check_ends(self) -> None:
        if self.offsets[0] != 0 or self._documents[0] != 0 or self._documents[-1] != len(self):
            raise ValueError(
                f"{self._idx_path} is damaged, or some document is not one protein; convert the data again"
            )
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
            documents = np.arange(start, start + len(ends))
            wrong = np.flatnonzero(
                (self.lengths[here] <= 0) | (self.offsets[here] != starts) | (self._documents[:-1][here] != documents)
            )
            if wrong.size:
                raise ValueError(
                    f"{self._idx_path}: the entry of protein {start + int(wrong[0])} is damaged; convert the data again"
                )
            expected = int(ends[-1])

    def no_residue_at(self, place: int) -> str:
        """Says which protein and position the byte at `place` of PREFIX.bin belongs to, and what is wrong with it."""
        protein = int(np.searchsorted(self.offsets, place, side="right")) - 1
        wrong = int(self.residues[place])
        name = f" ({TOKENS[wrong]})" if wrong < SIZE else ""
        position = place - int(self.offsets[protein]) + 1
        return f"{self._bin_path}: protein {protein}, position {position}: id {wrong}{name} is no residue"


def _read_num_proteins(idx_path: Path) -> int:
    """The number of proteins that an .idx says it describes, once its header and its size agree."""
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
    if num_boundaries != num_sequences + 1:
        raise ValueError(
            f"{idx_path}: {num_sequences:,} sequences in {num_boundaries - 1:,} documents, but one protein is one "
            "sequence is one document; convert the data again"
        )
    expected = _HEADER.size + 12 * num_sequences + 8 * num_boundaries
    size = idx_path.stat().st_size
    if size != expected:
        raise ValueError(
            f"{idx_path} has {size:,} bytes, but an index of {num_sequences:,} proteins has {expected:,}; "
            "convert the data again"
        )
    return int(num_sequences)


class IndexedWriter:
    """Writes PREFIX.bin and PREFIX.idx, protein by protein: `with IndexedWriter(prefix) as writer: writer.add(ids)`.

    Four bytes of memory per protein. Both files appear when the block ends well, PREFIX.idx last, and neither does
    when it raises. Raises ValueError if no protein was added.
    """

    def __init__(self, prefix: str | Path) -> None:
        self._lengths = array("i")
        self._scope = self._files(*paths_of(prefix))

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    def add(self, ids: np.ndarray) -> None:
        """Appends one protein: ids, uint8 [residues], without special tokens.

        Raises ValueError for another type and for a protein without residues.
        """
        if ids.dtype != np.uint8 or ids.size == 0:
            raise ValueError(
                f"protein {len(self._lengths)}: {ids.size} ids of {ids.dtype}; expected 1 or more of uint8"
            )
        self._bin.write(ids.tobytes())
        self._lengths.append(ids.size)

    @contextmanager
    def _files(self, bin_path: Path, idx_path: Path) -> Iterator[None]:
        with atomic(bin_path, idx_path) as (temporary_bin, temporary_idx):
            with temporary_bin.open("wb") as self._bin:
                yield
            if not self._lengths:
                raise ValueError(f"no protein to write to {bin_path}")
            _write_index(temporary_idx, np.frombuffer(self._lengths, dtype=np.int32))


def _write_index(path: Path, lengths: np.ndarray) -> None:
    """Writes an .idx for proteins of these lengths, int32 [N], in pieces, since 8-byte arrays of N need not fit."""
    num_proteins = len(lengths)
    pieces = [slice(start, start + _PROTEINS_AT_ONCE) for start in range(0, num_proteins, _PROTEINS_AT_ONCE)]
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _UINT8, num_proteins, num_proteins + 1))
        for piece in pieces:
            file.write(lengths[piece].astype("<i4").tobytes())
        offset = 0
        for piece in pieces:
            ends = offset + np.cumsum(lengths[piece], dtype="<i8")
            file.write((ends - lengths[piece]).tobytes())
            offset = int(ends[-1])
        for piece in pieces:
            file.write(np.arange(piece.start, min(piece.stop, num_proteins), dtype="<i8").tobytes())
        file.write(struct.pack("<q", num_proteins))
