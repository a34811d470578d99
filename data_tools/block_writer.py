"""Writes indexed datasets (d2plm_megatron/data/indexed.py) block by block: many proteins at a time, in constant memory.

A document is a protein and a sequence is a protein or one of its chunks, so a protein cut into three is a document of
three sequences. Its true ends are those of the document. Megatron's IndexedDataset reads both.
"""

import shutil
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from d2plm_megatron.data.indexed import paths_of
from d2plm_megatron.files import atomic

HEADER = struct.Struct("<9sQBQQ")
MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
UINT8 = 1
_NUMBERS_AT_ONCE = 1 << 20
_COPY_BYTES = 1 << 22


class BlockWriter:
    """Writes PREFIX.bin and PREFIX.idx: `with BlockWriter(prefix) as writer: writer.add(ids, lengths, begins)`.

    Both files appear when the block ends well, PREFIX.idx last, and neither does when it raises; what the .idx needs
    waits in a file beside them. Raises ValueError if nothing was added. The same sequences give the same bytes, however
    they are spread over calls of `add`.

    num_sequences, num_proteins, num_residues    written so far
    """

    def __init__(self, prefix: str | Path) -> None:
        self.num_sequences = self.num_proteins = self.num_residues = 0
        self._scope = self._files(*paths_of(prefix))

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    def add(self, ids: bytes, lengths: np.ndarray, begins: np.ndarray | None = None) -> None:
        """Appends sequences that lie end to end in `ids`, a byte per residue; lengths, int [n], are 1 or more.

        begins, bool [n], is false for a sequence that continues the protein of the one before; None: none does.
        """
        self._bin.write(ids)
        self._lengths.write(lengths.astype("<i4").tobytes())
        starts = np.arange(len(lengths)) if begins is None else np.flatnonzero(begins)
        self._documents.write((starts + self.num_sequences).astype("<i8").tobytes())
        self.num_sequences += len(lengths)
        self.num_proteins += len(starts)
        self.num_residues += int(lengths.sum(dtype=np.int64))

    def append(self, prefix: str | Path) -> None:
        """Appends another dataset, file by file. Raises ValueError when its header is of no dataset of proteins."""
        bin_path, idx_path = paths_of(prefix)
        num_sequences, num_proteins = read_counts(idx_path)
        with bin_path.open("rb") as source:
            shutil.copyfileobj(source, self._bin, _COPY_BYTES)
        with idx_path.open("rb") as source:
            source.seek(HEADER.size)
            for lengths in _numbers(source, num_sequences, "<i4"):
                self._lengths.write(lengths.tobytes())
                self.num_residues += int(lengths.sum(dtype=np.int64))
            source.seek(HEADER.size + 12 * num_sequences)
            for starts in _numbers(source, num_proteins, "<i8"):
                self._documents.write((starts + self.num_sequences).tobytes())
        self.num_sequences += num_sequences
        self.num_proteins += num_proteins

    @contextmanager
    def _files(self, bin_path: Path, idx_path: Path) -> Iterator[None]:
        with atomic(bin_path, idx_path) as (temporary_bin, temporary_idx), ExitStack() as stack:
            spilled = [temporary_idx.with_suffix(ending) for ending in (".lengths", ".documents")]
            for path in spilled:
                stack.callback(path.unlink, missing_ok=True)
            self._lengths, self._documents = (stack.enter_context(path.open("w+b")) for path in spilled)
            with temporary_bin.open("wb") as self._bin:
                yield
            if not self.num_sequences:
                raise ValueError(f"no protein to write to {bin_path}")
            with temporary_idx.open("wb") as file:
                self._write_index(file)

    def _write_index(self, file: BinaryIO) -> None:
        file.write(HEADER.pack(MAGIC, VERSION, UINT8, self.num_sequences, self.num_proteins + 1))
        self._lengths.seek(0)
        shutil.copyfileobj(self._lengths, file, _COPY_BYTES)
        self._lengths.seek(0)
        offset = 0
        for lengths in _numbers(self._lengths, self.num_sequences, "<i4"):
            ends = offset + np.cumsum(lengths, dtype="<i8")
            file.write((ends - lengths).tobytes())
            offset = int(ends[-1])
        self._documents.seek(0)
        shutil.copyfileobj(self._documents, file, _COPY_BYTES)
        file.write(struct.pack("<q", self.num_sequences))


def read_counts(idx_path: Path) -> tuple[int, int]:
    """How many sequences and documents an .idx says it has. Raises ValueError for what is no index of proteins."""
    with idx_path.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise ValueError(f"{idx_path} is no index of a Megatron dataset, or is cut off; convert the data again")
    _, version, code, num_sequences, num_boundaries = HEADER.unpack(header)
    if (version, code) != (VERSION, UINT8):
        raise ValueError(
            f"{idx_path}: version {version}, type code {code}; proteins have {VERSION} and {UINT8} (uint8)"
        )
    return num_sequences, num_boundaries - 1


def _numbers(file: BinaryIO, count: int, dtype: str) -> Iterator[np.ndarray]:
    for start in range(0, count, _NUMBERS_AT_ONCE):
        yield np.fromfile(file, dtype=dtype, count=min(_NUMBERS_AT_ONCE, count - start))
