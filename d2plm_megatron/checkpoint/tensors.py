"""Tensors on disk in terms of the whole model, as safetensors: any layout reads any other's, and so can anybody.

Each process writes the slices that it holds to a file of its own, RANK.safetensors, and reads those that it needs; none
needs the memory of the whole model. tensors.json says where everything is (see tensor_index.py). Nothing
is ever unpickled.
"""

import errno
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from d2plm_megatron.files import sync
from d2plm_megatron.model.sharding import TensorSlice
from d2plm_megatron.parallel.agreement import failing_together
from d2plm_megatron.runs import integrity, tensor_index
from d2plm_megatron.runs.integrity import Damaged
from d2plm_megatron.runs.tensor_index import Index, Piece, Slices, Stored

Sliced = Iterable[tuple[TensorSlice, Tensor]]

DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Write = Callable[[dist.ProcessGroup | None], integrity.Files]
"""Writes what has been prepared; all processes take part, talking in the given group.

Returns what the files are, on the main process of all of them. Raises OSError, on every rank, when one could not be
written.
"""


class Described(NamedTuple):
    """What a process has written of a tensor."""

    group: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    piece: Piece


def save(folder: Path, groups: dict[str, Sliced]) -> integrity.Files:
    """Writes the slices of every group, such as "weights", into an empty folder. All processes take part."""
    return prepare(folder, groups, copies=False)(None)


def prepare(folder: Path, groups: dict[str, Sliced], copies: bool) -> Write:
    """All of saving but the writing.

    Args:
        folder: empty, and seen by all processes.
        groups: slices by the name of their group, such as "weights".
        copies: of the values are taken, in the memory of the CPU, so that they may change before they are written.
    """
    file = f"{dist.get_rank():05d}.safetensors"
    own: dict[str, Tensor] = {}
    described = []
    for group, sliced in groups.items():
        for slice_, values in sliced:
            if any(slice_.replica):  # another process writes the same
                continue
            piece = Piece(file, slice_.offset, slice_.shape)
            own[piece.key(group, slice_.name)] = values.detach().to("cpu", copy=True) if copies else values.detach()
            described.append(Described(group, slice_.name, _NAMES[values.dtype], slice_.whole_shape, piece))
    return partial(_write, folder, file, own, described)


def _write(
    folder: Path, file: str, own: dict[str, Tensor], described: list[Described], group: dist.ProcessGroup | None
) -> integrity.Files:
    files: integrity.Files = {}
    with failing_together(group):
        if own:
            with _system_errors(folder / file):
                save_file(own, folder / file, {"format": "pt"})
            sync(folder / file)
            files = integrity.describe([folder / file])
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, (described, files), group=group)
    every = {name: found for _, of_part in parts for name, found in of_part.items()}
    with failing_together(group):  # the last time that others than the main process look into the folder
        if dist.get_rank() == 0:
            tensor_index.write(folder, _indexed(item for items, _ in parts for item in items))
            sync(folder / tensor_index.NAME)
            every |= integrity.describe([folder / tensor_index.NAME])
    return every


def _indexed(described: Iterable[Described]) -> Index:
    pieces: dict[tuple[str, str, str, tuple[int, ...]], list[Piece]] = defaultdict(list)
    for item in described:
        pieces[item[:4]].append(item.piece)
    found: Index = {}
    for (group, name, dtype, shape), of_tensor in pieces.items():
        found.setdefault(group, {})[name] = Stored(dtype, shape, tuple(of_tensor))
    return found


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """A full disk and the like are OSErrors, which safetensors reports as errors of its own."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


class _Copy(NamedTuple):
    """One part of one piece, and where it goes."""

    key: str
    stored: Stored
    piece: Piece
    part: Slices
    target: Tensor


def load(folder: Path, groups: dict[str, Sliced]) -> None:
    """Fills the given slices from a checkpoint, in place.

    Raises ValueError when the checkpoint lacks one of them or holds it in another shape, and Damaged when its files
    are not as its index says.
    """
    copies: dict[str, list[_Copy]] = defaultdict(list)
    found = tensor_index.read(folder)
    for group, sliced in groups.items():
        held = _held(folder, found, group)
        for slice_, values in sliced:
            for copy in _copies(folder, held, group, slice_, values):
                copies[copy.piece.file].append(copy)
    for file, wanted in copies.items():
        with _opened(folder / file) as entries:
            for copy in wanted:
                copy.target.copy_(_entry(entries, folder / file, copy.key, copy.stored, copy.piece)[copy.part])


def check(folder: Path, files: Iterable[str]) -> None:
    """Raises Damaged unless the index can be right, and these of its files have the entries that it names."""
    wanted = set(files)
    found = tensor_index.read(folder)
    by_file: dict[str, list[tuple[str, Stored, Piece]]] = defaultdict(list)
    for group, items in found.items():
        for name, stored in items.items():
            for piece in stored.pieces:
                by_file[piece.file].append((piece.key(group, name), stored, piece))
    for file in sorted(by_file.keys() & wanted):
        with _opened(folder / file) as entries:
            for key, stored, piece in by_file[file]:
                _entry(entries, folder / file, key, stored, piece)


def load_whole(folder: Path, group: str) -> dict[str, Tensor]:
    """Every tensor of a group by its name, whole, on the CPU; moments are 0 where nothing trains.

    Raises ValueError when the checkpoint lacks the group.
    """
    held = _held(folder, tensor_index.read(folder), group)
    whole = {name: torch.zeros(stored.shape, dtype=DTYPES[stored.dtype]) for name, stored in held.items()}
    load(folder, {group: [sliced for name, stored in held.items() for sliced in _pieces(name, stored, whole[name])]})
    return whole


def _pieces(name: str, stored: Stored, whole: Tensor) -> Sliced:
    """Each piece as a slice, with its view of the whole tensor."""
    for piece in stored.pieces:
        place = tuple(slice(begin, begin + size) for begin, size in zip(piece.offset, piece.shape, strict=True))
        yield TensorSlice(name, 0, piece.shape, stored.shape, piece.offset, (0,)), whole[place]


def whole_slice(name: str, values: Tensor) -> TensorSlice:
    """The slice that is all of a tensor."""
    shape = tuple(values.shape)
    return TensorSlice(name, 0, shape, shape, (0,) * len(shape), (0,))


def _held(folder: Path, found: Index, group: str) -> dict[str, Stored]:
    if group not in found:
        raise ValueError(f"{folder}: holds {', '.join(found)}, but no {group}")
    return found[group]


def _copies(folder: Path, held: dict[str, Stored], group: str, slice_: TensorSlice, values: Tensor) -> Iterator[_Copy]:
    """All that fills a slice."""
    if (stored := held.get(slice_.name)) is None:
        raise ValueError(f"{folder}: does not fit this model: it lacks {group}.{slice_.name}")
    if stored.shape != tuple(slice_.whole_shape):
        raise ValueError(
            f"{folder}: does not fit this model: {group}.{slice_.name} has shape {stored.shape}, "
            f"not {slice_.whole_shape}"
        )
    filled = 0
    for piece, part, place in stored.overlaps(slice_.offset, slice_.shape):
        target = values[place]
        filled += target.numel()
        yield _Copy(piece.key(group, slice_.name), stored, piece, part, target)
    if filled != values.numel():
        raise Damaged(f"{folder / tensor_index.NAME}: damaged: {group}.{slice_.name} is not whole")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as entries:
            yield entries
    except SafetensorError as error:
        raise Damaged(f"{path}: damaged: {error}") from error


def _entry(entries: Any, path: Path, key: str, stored: Stored, piece: Piece) -> Any:
    """A tensor of a file, not read yet. Raises Damaged when it is not what the index says."""
    entry = entries.get_slice(key)
    if (entry.get_dtype(), tuple(entry.get_shape())) != (stored.dtype, piece.shape):
        raise Damaged(f"{path}: damaged: {key} is {entry.get_dtype()} {entry.get_shape()}, unlike the index")
    return entry
