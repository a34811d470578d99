"""Writes indexed proteins (see indexed.py): one at a time, many at a time, or whole datasets, in constant memory."""

import shutil
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from d2plm_megatron.data.indexed import HEADER, MAGIC, UINT8, VERSION, paths_of, read_counts
from d2plm_megatron.files import atomic

_NUMBERS_AT_ONCE = 1 << 20
_COPY_BYTES = 1 << 22


class IndexedWriter:
    """Writes PREFIX.bin and PREFIX.idx: `with IndexedWriter(prefix) as writer: writer.add(ids)`.

    Both files appear when the block ends well, PREFIX.idx last, and neither does when it raises; what the .idx needs
    waits in a file beside them. Raises ValueError if nothing was added. The same sequences give the same bytes, however
    they are spread over calls.

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

    def add(self, ids: np.ndarray, continues: bool = False) -> None:
        """Appends one sequence: ids, uint8 [residues], without special tokens.

        `continues` is true for the second and later chunks of a protein that is cut into several. Raises ValueError
        for another type, for a sequence without residues, and for a first one that continues.
        """
        if ids.dtype != np.uint8 or ids.size == 0:
            raise ValueError(
                f"protein {self.num_sequences}: {ids.size} ids of {ids.dtype}; expected 1 or more of uint8"
            )
        if continues and not self.num_sequences:
            raise ValueError("protein 0: there is none before it that it could continue")
        self.add_block(ids.tobytes(), np.array([ids.size]), np.array([not continues]))

    def add_block(self, ids: bytes, lengths: np.ndarray, begins: np.ndarray | None = None) -> None:
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


def _numbers(file: BinaryIO, count: int, dtype: str) -> Iterator[np.ndarray]:
    for start in range(0, count, _NUMBERS_AT_ONCE):
        yield np.fromfile(file, dtype=dtype, count=min(_NUMBERS_AT_ONCE, count - start))
