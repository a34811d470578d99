"""Writes indexed proteins (see indexed.py) one by one, many at a time or as whole datasets, in constant memory."""

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from d2plm_megatron.data.checksums import Checksums, Sum, path_of
from d2plm_megatron.data.index import HEADER, MAGIC, UINT8, VERSION
from d2plm_megatron.data.indexed import IndexedProteins, paths_of
from d2plm_megatron.files import atomic

_PART_BYTES = 1 << 22


def files_of(prefix: str | Path) -> list[Path]:
    """The files that are written: PREFIX.bin, PREFIX.idx and their checksums."""
    return [*paths_of(prefix), path_of(prefix)]


class IndexedWriter:
    """Writes PREFIX.bin, PREFIX.idx and their checksums: `with IndexedWriter(prefix) as writer: writer.add(ids)`.

    All files appear when the block ends without an error, PREFIX.idx last, and none of them if it raises. Until then
    the entries of the index are kept in a file beside them. Raises ValueError if nothing was added. The same sequences
    give the same bytes, in whatever calls they are added. `num_sequences`, `num_proteins` and `num_residues` count what
    was written so far.
    """

    def __init__(self, prefix: str | Path) -> None:
        self.num_sequences = self.num_proteins = self.num_residues = 0
        self._sum = Sum()
        self._scope = self._files(*files_of(prefix))

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
        for another type, for a sequence without residues, and if the very first sequence continues one.
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

        `begins`, bool [n], is false for a sequence that continues the protein of the one before. None means that each
        begins a protein.
        """
        self._add_residues(ids)
        starts = np.arange(len(lengths)) if begins is None else np.flatnonzero(begins)
        self._add_starts(starts)
        self._add_lengths(lengths)

    def append(self, prefix: str | Path) -> None:
        """Appends another dataset, and checks all of it on the way.

        Raises what IndexedProteins and its `verify` raise.
        """
        source = IndexedProteins(prefix)
        for residues in source.verified():
            self._add_residues(residues.data)
        for starts in source.document_starts():
            self._add_starts(starts)
        for lengths, _ in source.pieces():
            self._add_lengths(lengths)

    def _add_residues(self, ids: bytes | memoryview) -> None:
        self._bin.write(ids)
        self._sum.add(ids)
        self.num_residues += len(ids)

    def _add_starts(self, starts: np.ndarray) -> None:
        """Adds the starts of documents, which are counted from the next sequence on."""
        self._documents.write((starts + self.num_sequences).astype("<i8").tobytes())
        self.num_proteins += len(starts)

    def _add_lengths(self, lengths: np.ndarray) -> None:
        self._lengths.write(lengths.astype("<i4").tobytes())
        self.num_sequences += len(lengths)

    @contextmanager
    def _files(self, bin_path: Path, idx_path: Path, sums_path: Path) -> Iterator[None]:
        paths = atomic(bin_path, sums_path, idx_path)
        with paths as (temporary_bin, temporary_sums, temporary_idx), ExitStack() as stack:
            spilled = [temporary_idx.with_suffix(ending) for ending in (".lengths", ".documents")]
            for path in spilled:
                stack.callback(path.unlink, missing_ok=True)
            self._lengths, self._documents = (stack.enter_context(path.open("w+b")) for path in spilled)
            with temporary_bin.open("wb") as self._bin:
                yield
            if not self.num_sequences:
                raise ValueError(f"no protein to write to {bin_path}")
            index = Sum()
            with temporary_idx.open("wb") as file:
                for part in self._index():
                    file.write(part)
                    index.add(part)
            Checksums(self._sum.result(), index.result()).write(temporary_sums)

    def _index(self) -> Iterator[bytes]:
        """Yields the bytes of PREFIX.idx in parts."""
        yield HEADER.pack(MAGIC, VERSION, UINT8, self.num_sequences, self.num_proteins + 1)
        yield from _parts(self._lengths)
        offset = 0
        for part in _parts(self._lengths):
            lengths = np.frombuffer(part, dtype="<i4")
            ends = offset + np.cumsum(lengths, dtype="<i8")
            yield (ends - lengths).tobytes()
            offset = int(ends[-1])
        yield from _parts(self._documents)
        yield struct.pack("<q", self.num_sequences)


def _parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(_PART_BYTES):
        yield part
