"""Embeddings in files, written as they come: .safetensors, a tensor by each id, or .parquet, a row of each protein.

A safetensors file begins with a header that says where each tensor is (https://github.com/huggingface/safetensors);
as lengths are known before, it is written first, and memory does not grow with what follows.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.files import atomic
from d2plm_megatron.scoring.given import Given

DTYPES = {"fp32": np.float32, "fp16": np.float16}
SUFFIXES = (".safetensors", ".parquet")
_SAFETENSORS_DTYPES = {"fp32": "F32", "fp16": "F16"}
_LARGEST_HEADER = 100_000_000
_RESIDUES_AT_ONCE = 1 << 14

Write = Callable[[str, np.ndarray], None]


@dataclass(frozen=True)
class Shape:
    """What is written of each protein: [L, H], or [H] of its mean; fp32 or fp16."""

    hidden_size: int
    mean: bool
    dtype: str

    def of(self, length: int) -> list[int]:
        """The shape of a protein of `length` residues."""
        return [self.hidden_size] if self.mean else [length, self.hidden_size]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return np.dtype(DTYPES[self.dtype])


def write_embeddings(path: Path, given: Given, shape: Shape, metadata: dict[str, str]) -> AbstractContextManager[Write]:
    """A function that writes (id, values), called in the order of the ids; the file appears when the block ends well.

    Raises ValueError for ids that safetensors cannot take.
    """
    if path.suffix == ".parquet":
        return _writing_parquet(path, shape, metadata)
    return _writing_safetensors(path, _header(path, given, shape, metadata), shape)


def _header(path: Path, given: Given, shape: Shape, metadata: dict[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": metadata}
    if "__metadata__" in given.ids:
        raise ValueError(f"{given.path}: the id __metadata__ cannot be a name in {path}; rename it, or write .parquet")
    end = 0
    for name, length in zip(given.ids, given.lengths, strict=True):
        numbers = shape.of(length)
        begin, end = end, end + int(np.prod(numbers)) * shape.numpy.itemsize
        entries[name] = {"dtype": _SAFETENSORS_DTYPES[shape.dtype], "shape": numbers, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEADER:
        raise ValueError(
            f"{path}: the names of {len(given.ids):,} proteins take {len(text):,} bytes, and safetensors allows "
            f"{_LARGEST_HEADER:,}; write .parquet, or give fewer"
        )
    return text


@contextmanager
def _writing_safetensors(path: Path, header: bytes, shape: Shape) -> Iterator[Write]:
    with atomic(path) as (temporary,), temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        yield lambda name, values: values.astype(shape.numpy).tofile(file)


@contextmanager
def _writing_parquet(path: Path, shape: Shape, metadata: dict[str, str]) -> Iterator[Write]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    number = pyarrow.from_numpy_dtype(shape.numpy)
    of_residue = pyarrow.list_(number, shape.hidden_size)
    kinds = {"id": pyarrow.string(), "embedding": of_residue if shape.mean else pyarrow.list_(of_residue)}
    schema = pyarrow.schema(kinds.items(), metadata=metadata)
    waiting: dict[str, np.ndarray] = {}

    def flush() -> None:
        if not waiting:
            return
        rows = [np.atleast_2d(values.astype(shape.numpy)) for values in waiting.values()]
        flat = pyarrow.array(np.concatenate(rows).ravel())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, shape.hidden_size)
        if not shape.mean:
            column = pyarrow.ListArray.from_arrays(np.cumsum([0, *map(len, rows)], dtype=np.int32), column)
        writer.write_table(pyarrow.Table.from_arrays([pyarrow.array(waiting), column], schema=schema))
        waiting.clear()

    def write(name: str, values: np.ndarray) -> None:
        waiting[name] = values
        if sum(map(len, waiting.values())) >= _RESIDUES_AT_ONCE:
            flush()

    with atomic(path) as (temporary,), ParquetWriter(temporary, schema) as writer:
        yield write
        flush()
