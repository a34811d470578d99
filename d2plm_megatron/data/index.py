"""The index of a Megatron dataset, PREFIX.idx: where each of the N sequences of PREFIX.bin lies.

Little-endian, packed:

    9 bytes      magic, MMIDIDX and two zero bytes
    uint64       version, 1
    uint8        code of the residues' type, 1 = uint8
    uint64       number of sequences, N
    uint64       number of document boundaries, D + 1
    int32 [N]    lengths, residues
    int64 [N]    offsets of the first residues in PREFIX.bin, bytes
    int64 [D+1]  document boundaries: document d is the sequences from boundary d to boundary d + 1

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.1.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from d2plm_megatron.data.mapped import MappedFile

HEADER = struct.Struct("<9sQBQQ")
MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float64", 7: "float32", 8: "uint16"}
UINT8 = 1
_ENTRIES_AT_ONCE = 1 << 20


class Index:
    """An index, mapped into memory and checked where it is looked up.

    `len(index)` is N, and `num_documents` is D.

    Args:
        path: of the file.
        num_residues: how many bytes PREFIX.bin has.

    Opening checks the header and the first and last entries, and takes the same time for any N. Raises ValueError,
    saying what does not fit, if the file is no index of uint8 or describes another number of residues.
    """

    def __init__(self, path: Path, num_residues: int) -> None:
        self.file = MappedFile(path)
        num_sequences, self.num_documents = _read_counts(self.file)
        self._num_residues = num_residues
        self._lengths = self.file.numbers("<i4", HEADER.size, num_sequences)
        self._offsets = self.file.numbers("<i8", HEADER.size + 4 * num_sequences, num_sequences)
        self._documents = self.file.numbers("<i8", HEADER.size + 12 * num_sequences, self.num_documents + 1)
        self._check_ends()

    def __len__(self) -> int:
        return len(self._lengths)

    def checked(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(residues, first byte in PREFIX.bin) of these sequences, all int64 [n]; sequences count from 0 to N - 1.

        Raises ValueError naming the first sequence that does not end where the next one starts, or the last one where
        PREFIX.bin ends: its entry is damaged, or that of the next one.
        """
        self.file.check_size()
        lengths, offsets = self._lengths[chosen].astype(np.int64), self._offsets[chosen]
        ends = self._offsets[np.minimum(chosen + 1, len(self) - 1)]
        ends[chosen == len(self) - 1] = self._num_residues
        outside = (offsets < 0) | (offsets > self._num_residues - lengths)
        wrong = np.flatnonzero((lengths <= 0) | outside | (offsets + lengths != ends))
        if wrong.size:
            raise ValueError(self._damaged(f"protein {chosen[wrong[0]]}, or of the next,"))
        return lengths, offsets

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields what `checked` gives, for all sequences in order, about a million at a time."""
        for first in range(0, len(self), _ENTRIES_AT_ONCE):
            yield self.checked(np.arange(first, min(first + _ENTRIES_AT_ONCE, len(self))))

    def is_boundary(self, sequences: np.ndarray) -> np.ndarray:
        """Whether a document begins with each of these sequences, bool. They are int64 from 0 to N, where N is the end.

        Raises ValueError if the boundaries of documents around one of them do not rise.
        """
        if self.num_documents == len(self):
            return np.ones(len(sequences), dtype=bool)
        self.file.check_size()
        places = _last_at_most(self._documents, sequences)
        around = np.clip(places[:, None] + np.arange(-1, 3), 0, self.num_documents)
        falls = (np.diff(self._documents[around]) <= 0) & (np.diff(around) > 0)
        wrong = np.flatnonzero(falls.any(axis=1))
        if wrong.size:
            raise ValueError(self._damaged(f"a document near protein {sequences[wrong[0]]}"))
        found: np.ndarray = self._documents[places] == sequences
        return found

    def document_starts(self) -> Iterator[np.ndarray]:
        """Yields the first sequence of every document, int64, some at a time. Raises ValueError if they do not rise."""
        for start in range(0, self.num_documents, _ENTRIES_AT_ONCE):
            bounds = self._documents[start : start + _ENTRIES_AT_ONCE + 1]
            wrong = np.flatnonzero(np.diff(bounds) <= 0)
            if wrong.size:
                raise ValueError(self._damaged(f"document {start + int(wrong[0])}"))
            yield bounds[:-1]

    def place_of(self, byte: int) -> tuple[int, int]:
        """(sequence, position in it from 0) of a byte of PREFIX.bin. The index must not be damaged there."""
        [sequence] = _last_at_most(self._offsets, np.array([byte])).tolist()
        return sequence, byte - int(self._offsets[sequence])

    def _check_ends(self) -> None:
        path, described = self.file.path, int(self._offsets[-1]) + int(self._lengths[-1])
        if self._offsets[0] != 0 or self._documents[0] != 0 or self._documents[-1] != len(self):
            raise ValueError(f"{path} is damaged; convert the data again")
        size = self._num_residues
        if size != described or size == 0:
            difference = f"{described - size:,} are missing" if size <= described else f"{size - described:,} too many"
            raise ValueError(
                f"{path.with_suffix('.bin')} has {size:,} bytes where {path} describes {described:,}: {difference}; "
                "convert the data again"
            )

    def _damaged(self, entry: str) -> str:
        return f"{self.file.path}: the entry of {entry} is damaged; convert the data again"


def _last_at_most(rising: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last places in `rising` whose numbers do not exceed the values, int64; place 0 where there is none."""
    low, high = np.zeros(len(values), dtype=np.int64), np.full(len(values), len(rising))
    while (high - low > 1).any():
        middle = (low + high) // 2
        is_right = rising[middle] <= values
        low, high = np.where(is_right, middle, low), np.where(is_right, high, middle)
    return low


def _read_counts(file: MappedFile) -> tuple[int, int]:
    """The numbers of sequences and documents by the header of an index, which is checked against the file's size."""
    header = file.content[: HEADER.size].tobytes()
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise ValueError(f"{file.path} is no index of a Megatron dataset, or is cut off; convert the data again")
    _, version, dtype, num_sequences, num_boundaries = HEADER.unpack(header)
    if version != VERSION:
        raise ValueError(f"{file.path}: format version {version}; only version {VERSION} is known")
    if dtype != UINT8:
        found = _TYPES.get(dtype, f"type code {dtype}")
        raise ValueError(
            f"{file.path}: holds {found}, but proteins are stored as uint8; was it made by lmdb_to_indexed?"
        )
    if num_sequences == 0:
        raise ValueError(f"{file.path}: the dataset is empty")
    expected = HEADER.size + 12 * num_sequences + 8 * num_boundaries
    size = len(file.content)
    if size != expected or not 1 < num_boundaries <= num_sequences + 1:
        raise ValueError(
            f"{file.path} has {size:,} bytes, but an index of {num_sequences:,} sequences in {num_boundaries - 1:,} "
            f"documents has {expected:,}; convert the data again"
        )
    return int(num_sequences), int(num_boundaries) - 1
