"""Tensors on disk in terms of the whole model, by Megatron's distributed checkpointing: any layout reads any other's.

Each process writes the boxes that it holds and reads those that it needs; none needs the memory of the whole model.
"""

import pickle
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
from megatron.core.dist_checkpointing.mapping import ShardedStateDict, ShardedTensor
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.torch import (
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    _replace_state_dict_keys_with_sharded_keys,
    mcore_to_pyt_state_dict,
)
from torch import Tensor
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from d2plm_megatron.model.placement import Box

Boxed = Iterable[tuple[Box, Tensor]]

PLAIN_DATA = {
    "torch": {"Size", "float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.planner": {"SavePlan", "TensorWriteData", "WriteItem", "WriteItemType"},
}
"""All that torch's own description of a checkpoint is made of."""


Write = Callable[[dist.ProcessGroup | None], None]
"""Writes what has been prepared. All processes take part, talking in the given group."""


def save(folder: Path, groups: dict[str, Boxed]) -> None:
    """Writes the boxes of every group, such as "weights", into an empty folder. All processes take part."""
    prepare(folder, groups, copies=False)(None)


def prepare(folder: Path, groups: dict[str, Boxed], copies: bool) -> Write:
    """All of saving but the writing. All processes take part.

    Args:
        folder: empty, and seen by all of them.
        groups: boxes by the name of their group, such as "weights".
        copies: of the values are taken, in the memory of the CPU, so that they may change before they are written.
    """
    strategy = _SaveInProcess(copies)
    dist_checkpointing.save(_described(groups), str(folder), sharded_strategy=strategy, async_sharded_save=True)
    if dist.get_rank() == 0:  # else done by a step that Megatron leaves to whoever finishes its asynchronous saves
        save_config(CheckpointingConfig(strategy.backend, strategy.version), str(folder))
    return partial(_write, strategy.write, folder)


def _write(write: Write, folder: Path, group: dist.ProcessGroup | None) -> None:
    try:
        write(group)
    except CheckpointException as error:
        for failure, _ in error.failures.values():
            if isinstance(failure, OSError):
                raise OSError(failure.errno, failure.strerror, str(folder)) from error
        raise


def load(folder: Path, groups: dict[str, Boxed]) -> None:
    """Fills the given boxes from a checkpoint, in place. All processes take part.

    Raises ValueError when the checkpoint lacks one of them, or could run code when read.
    """
    described = _described(groups)
    for group in groups:
        _held(folder, group)
    _check_fits(folder, described, read_description(folder))
    try:
        dist_checkpointing.load(described, str(folder), validate_access_integrity=False)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{folder}: a file asks to run code when it is read; refused") from error
    except CheckpointException as error:
        reasons = {str(failure).splitlines()[0] for failure, _ in error.failures.values()}
        raise ValueError(f"{folder}: cannot be read: {'; '.join(reasons)}") from error


def groups_of(folder: Path) -> dict[str, dict[str, TensorStorageMetadata]]:
    """What a checkpoint holds: by group, such as "weights", and by the name in the whole model."""
    groups: dict[str, dict[str, TensorStorageMetadata]] = {}
    for key, found in sorted(read_description(folder).state_dict_metadata.items()):
        group, _, name = key.partition(".")
        assert isinstance(found, TensorStorageMetadata)  # of anything else nothing is read
        groups.setdefault(group, {})[name] = found
    return groups


def load_whole(folder: Path, group: str) -> list[tuple[Box, Tensor]]:
    """Every tensor of a group, whole, on the CPU. Raises ValueError when the checkpoint lacks the group."""
    whole = []
    for name, found in _held(folder, group).items():
        shape = tuple(found.size)
        box = Box(name, 0, shape, shape, (0,) * len(shape), (0, 0, 0))
        whole.append((box, torch.empty(shape, dtype=found.properties.dtype)))
    load(folder, {group: whole})
    return whole


def _held(folder: Path, group: str) -> dict[str, TensorStorageMetadata]:
    groups = groups_of(folder)
    if group not in groups:
        raise ValueError(f"{folder}: holds {', '.join(groups)}, but no {group}")
    return groups[group]


def read_description(folder: Path) -> Metadata:
    """What a checkpoint holds. Raises ValueError when the file, a pickle, is anything but a description of tensors.

    torch unpickles this file and everything that is not a tensor, and unpickling can run code that others wrote.
    """
    path = folder / ".metadata"
    try:
        with path.open("rb") as file:
            metadata: Metadata = _PlainUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: not the description of a checkpoint: {error}") from error
    objects = [key for key, item in metadata.state_dict_metadata.items() if isinstance(item, BytesStorageMetadata)]
    if objects:
        raise ValueError(f"{folder}: holds pickled objects ({', '.join(objects)}), which could run code; refused")
    return metadata


def _check_fits(folder: Path, described: dict[str, ShardedTensor], metadata: Metadata) -> None:
    for wanted in described.values():
        found = metadata.state_dict_metadata.get(wanted.key)
        if not isinstance(found, TensorStorageMetadata):
            raise ValueError(f"{folder}: does not fit this model: it lacks {wanted.key}")
        if tuple(found.size) != tuple(wanted.global_shape):
            raise ValueError(
                f"{folder}: does not fit this model: {wanted.key} has shape {tuple(found.size)}, "
                f"not {tuple(wanted.global_shape)}"
            )


class _SaveInProcess(TorchDistSaveShardedStrategy):
    """Megatron's format, written by this process.

    Megatron's own writer starts three processes per rank, one of which imports the whole program once more.

    Attributes:
        write: what is left to do once Megatron has called async_save.
    """

    def __init__(self, copies: bool) -> None:
        super().__init__("torch_dist", 1)
        self.copies = copies
        self.write: Write

    def async_save(self, sharded_state_dict: ShardedStateDict, checkpoint_dir: str | Path) -> AsyncRequest:
        by_key, _, _ = _replace_state_dict_keys_with_sharded_keys(sharded_state_dict, self.keep_only_main_replica)
        if self.copies:
            for sharded in chain.from_iterable(by_key.values()):
                sharded.data = sharded.data.detach().to("cpu", copy=True)
        state = mcore_to_pyt_state_dict(by_key)

        def write(group: dist.ProcessGroup | None) -> None:
            torch.distributed.checkpoint.save(
                state,
                storage_writer=_Writer(checkpoint_dir),  # with one thread: errors in others would be lost
                planner=MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
                process_group=group,
            )

        self.write = write
        return AsyncRequest(None, (), [])


class _Writer(FileSystemWriter):
    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """As torch does, but a full disk stays an OSError, which torch's own cleaning up would hide."""
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    def storage_meta(self) -> StorageMeta:
        """Nothing: torch would note the folder's path on the machine that wrote it."""
        return StorageMeta()


def _member(kind: Any, name: Any) -> Enum:
    """What getattr(kind, name) is, provided that it is a member of an enumeration: so Python 3.11.2 pickles these."""
    if not (isinstance(kind, type) and issubclass(kind, Enum) and type(name) is str and name in kind.__members__):
        raise pickle.UnpicklingError(f"it asks for {name!r} of {kind!r}, which could run code; refused")
    return kind[name]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        if name not in PLAIN_DATA.get(module, ()):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which could run code; refused")
        found: Callable = super().find_class(module, name)
        return found


def _described(groups: dict[str, Boxed]) -> dict[str, ShardedTensor]:
    """Megatron's description of boxes that follow no regular grid."""
    described: dict[str, ShardedTensor] = {}
    for group, boxed in groups.items():
        for box, values in boxed:
            key = f"{group}.{box.name}"
            described[f"{key}/{len(described)}"] = ShardedTensor(
                key=key,
                data=values,
                dtype=values.dtype,
                local_shape=box.shape,
                global_shape=box.whole_shape,
                global_offset=box.offset,
                axis_fragmentations=None,
                replica_id=box.replica,
            )
    return described
