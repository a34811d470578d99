"""What the tensor files of a checkpoint hold, in terms of the whole model: tensors.json.

    {"weights": {"decoder.layers.mlp.linear_fc2.weight": {
        "dtype": "F32",
        "shape": [6, 320, 1280],
        "pieces": [{"file": "00000.safetensors", "offset": [0, 0, 0], "shape": [1, 320, 640]}, ...]}, ...}, ...}

The pieces of a tensor fill it; those of a moment need not, as only what trains has moments. Each piece is an entry of
its file, named after what it is, so that the files alone tell too:

    weights.decoder.layers.mlp.linear_fc2.weight[0:1,0:320,0:640]
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.integrity import Damaged

NAME = "tensors.json"
RAW, EMA = "raw", "ema"
"""The groups of tensors that are an encoder: as trained, and their EMA."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""The groups that hold what trains alone: the optimizer's, a running mean of gradients and one of their squares."""
BYTES_OF = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""Of a number, by the dtypes of safetensors that weights, moments and EMAs may have."""

_SCHEMA = {
    str: {str: {"dtype": str, "shape": [int], "pieces": [{"file": str, "offset": [int], "shape": [int]}]}},
}
_FILE = re.compile(r"\d{5,}\.safetensors")

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Piece:
    """A slice of a whole tensor, in one of the files."""

    file: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]

    def key(self, group: str, name: str) -> str:
        """The name of its entry in the file."""
        ranges = (f"{begin}:{begin + size}" for begin, size in zip(self.offset, self.shape, strict=True))
        return f"{group}.{name}[{','.join(ranges)}]"


@dataclass(frozen=True)
class Stored:
    """A whole tensor on disk.

    Attributes:
        dtype: as safetensors calls it, such as F32.
        shape: of the whole.
        pieces: that fill it.
    """

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    def overlaps(self, offset: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[Piece, Slices, Slices]]:
        """For a slice of the whole: the pieces that hold some of it, and which part of a piece is which of it."""
        begins, ends = np.maximum(self._begins, offset), np.minimum(self._ends, np.add(offset, shape))
        for number in np.flatnonzero((begins < ends).all(axis=1)).tolist():
            begin, end, piece = begins[number], ends[number], self.pieces[number]
            yield piece, _slices(begin - piece.offset, end - piece.offset), _slices(begin - offset, end - offset)

    @cached_property
    def _begins(self) -> np.ndarray:
        return np.array([piece.offset for piece in self.pieces])

    @cached_property
    def _ends(self) -> np.ndarray:
        return self._begins + np.array([piece.shape for piece in self.pieces])


Index = dict[str, dict[str, Stored]]
"""By group, such as "weights", and by the tensor's name in the whole model."""


def write(folder: Path, index: Index) -> None:
    """Writes the index into the folder of a checkpoint."""
    values = {
        group: {
            name: {"dtype": item.dtype, "shape": item.shape, "pieces": [vars(piece) for piece in item.pieces]}
            for name, item in sorted(items.items())
        }
        for group, items in index.items()
    }
    (folder / NAME).write_text(json.dumps(values) + "\n", encoding="utf-8")


def read(folder: Path) -> Index:
    """The index of a checkpoint.

    Everything that memory will be taken for is checked against the sizes of the files, which must lie in the folder.
    Raises Damaged when something cannot be as it says.
    """
    path = folder / NAME
    values = integrity.parsed(integrity.read_bytes(path), str(path))
    if not integrity.fits(values, _SCHEMA) or not values:
        raise Damaged(f"{path}: damaged: no index of tensors")
    index = {group: {name: _stored(item) for name, item in items.items()} for group, items in values.items()}
    sizes: Counter[str] = Counter()
    for group, items in index.items():
        for name, item in items.items():
            if not _fills(item, partly=group in MOMENTS):
                raise Damaged(f"{path}: damaged: the pieces of {group}.{name} do not make a tensor")
            for piece in item.pieces:
                sizes[piece.file] += BYTES_OF[item.dtype] * math.prod(piece.shape)
    for file, size in sizes.items():
        if not (folder / file).is_file() or (folder / file).stat().st_size <= size:
            raise Damaged(f"{path}: damaged: {file} does not hold the {size:,} bytes that it should")
    return index


def _stored(item: dict[str, Any]) -> Stored:
    pieces = (Piece(piece["file"], tuple(piece["offset"]), tuple(piece["shape"])) for piece in item["pieces"])
    return Stored(item["dtype"], tuple(item["shape"]), tuple(pieces))


def _fills(item: Stored, partly: bool) -> bool:
    """Whether the pieces are slices inside the whole, as large as it together, in files with names of our own.

    Args:
        item: a tensor.
        partly: less than the whole will do.
    """
    inside = all(
        _FILE.fullmatch(piece.file)
        and len(piece.offset) == len(piece.shape) == len(item.shape)
        and all(size > 0 for size in piece.shape)
        and all(o + n <= whole for o, n, whole in zip(piece.offset, piece.shape, item.shape, strict=True))
        for piece in item.pieces
    )
    volume = sum(math.prod(piece.shape) for piece in item.pieces)
    whole = math.prod(item.shape)
    fits = 0 < volume <= whole if partly else volume == whole > 0
    return item.dtype in BYTES_OF and bool(item.shape) and inside and fits


def _slices(begins: np.ndarray, ends: np.ndarray) -> Slices:
    return tuple(map(slice, begins.tolist(), ends.tolist()))
