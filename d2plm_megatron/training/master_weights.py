"""The fp32 weights that the optimizer steps, wherever Megatron keeps them, each with its place in the whole model.

Without sharding every data-parallel rank has all of them (beside bf16 weights, or as the fp32 weights themselves); the
distributed optimizer gives each rank a run of each parameter, and FSDP does so too, in its own buffers. Averages and
checkpoints work on these shards and need not know which it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from megatron.core.distributed.fsdp.mcore_fsdp_adapter import FullyShardedDataParallel
from megatron.core.optimizer import ChainedOptimizer
from megatron.core.optimizer.optimizer import FP32Optimizer
from megatron.core.utils import to_local_if_dtensor
from torch import Tensor

from d2plm_megatron.model.sharding import TensorSlice


@dataclass(frozen=True)
class Shard:
    """The part of one parameter that this rank steps.

    Attributes:
        start: where it begins in the flattened local parameter.
        boxes: where its elements belong in the whole model.
        weight: fp32, flat; the storage that the optimizer writes to.
        main_param: what the optimizer keys its state by.
    """

    start: int
    boxes: tuple[TensorSlice, ...]
    weight: Tensor
    main_param: Tensor

    def cut(self, values: Tensor) -> Iterator[tuple[TensorSlice, Tensor]]:
        """Each box with its view of `values`, which run along with `weight`."""
        flat = values.view(-1)
        for box in self.boxes:
            yield box, flat[box.start - self.start : box.stop - self.start].view(box.shape)


@dataclass(frozen=True)
class MasterWeights:
    """All shards of this rank.

    Args:
        shards: one per parameter that trains and that this rank has a part of.
        optimizer: Megatron's, of one of its kinds.
        wrapped: the encoder inside Megatron's data-parallel wrapper.
        sharded: the shards are parts, which must be gathered before the encoder can use them.
    """

    shards: list[Shard]
    optimizer: Any
    wrapped: Any
    sharded: bool

    @property
    def weights(self) -> list[Tensor]:
        """The fp32 storage of every shard."""
        return [shard.weight for shard in self.shards]

    def boxed(self, values: Sequence[Tensor]) -> Iterator[tuple[TensorSlice, Tensor]]:
        """Every box of every shard with its view of `values`, one for each shard, such as the weights."""
        for shard, of_shard in zip(self.shards, values, strict=True):
            yield from shard.cut(of_shard)

    @property
    def gradients(self) -> list[Tensor]:
        """Of every shard, fp32, once the optimizer has prepared them."""
        return [to_local_if_dtensor(shard.main_param.grad) for shard in self.shards]

    def squared_norm(self) -> Tensor:
        """Of the gradients, without what tensor- and pipeline-parallel ranks hold twice: a scalar, float64."""
        gradients = self.optimizer.get_main_grads_for_grad_norm()
        norms = torch._foreach_norm(gradients) if gradients else [torch.zeros(1, device=torch.cuda.current_device())]
        return torch.stack(norms).double().square().sum()

    def wait_for_gather(self) -> None:
        """To be called before writing to the weights: FSDP may be gathering them ahead, and would keep the old ones."""
        if self._is_fsdp:
            self.wrapped.stop_communication()

    @property
    def _is_fsdp(self) -> bool:
        return isinstance(self.wrapped, FullyShardedDataParallel)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Makes the encoder compute with the present fp32 weights: rounds them to its precision and gathers them."""
        if not isinstance(self.optimizer, FP32Optimizer):  # whose main weights are those of the model
            self.optimizer._copy_main_params_to_model_params()
        if self.sharded:
            self.wrapped.start_param_sync(force_sync=not self._is_fsdp)


def only_part(optimizer: Any) -> Any:
    """Megatron's optimizer behind its chain of optimizers, where it makes one: of one part, as there are no experts."""
    parts = optimizer.chained_optimizers if isinstance(optimizer, ChainedOptimizer) else [optimizer]
    assert len(parts) == 1, f"Megatron made {len(parts)} optimizers, of which one would be saved"
    return parts[0]


def collect(wrapped: Any, optimizer: Any, sharding: str, boxes_by_name: dict[str, list[TensorSlice]]) -> MasterWeights:
    """Finds the fp32 weights behind a wrapped encoder.

    Args:
        wrapped: Megatron's DistributedDataParallel or FullyShardedDataParallel.
        optimizer: from get_megatron_optimizer, for this wrapper.
        sharding: parallel.sharding of the recipe.
        boxes_by_name: from `slices_by_parameter`, taken before wrapping.
    """
    optimizer = only_part(optimizer)
    find = {"none": _whole, "optimizer": _distributed, "parameters": _fully_sharded}[sharding]
    shards = []
    for name, start, weight, main_param in find(wrapped, optimizer):
        boxes = [part for box in boxes_by_name[name] for part in box.cut(start, start + weight.numel())]
        if sharding != "none":  # then no other data-parallel rank holds the same
            boxes = [replace(box, replica=(*box.replica[:-1], 0)) for box in boxes]
        shards.append(Shard(start, tuple(boxes), weight, main_param))
    return MasterWeights(shards, optimizer, wrapped, sharding != "none")


Found = Iterator[tuple[str, int, Tensor, Tensor]]


def _whole(wrapped: Any, optimizer: Any) -> Found:
    for name, parameter in wrapped.module.named_parameters():
        if parameter.requires_grad:
            main_param = parameter if isinstance(optimizer, FP32Optimizer) else parameter.main_param
            yield name, 0, main_param.data.view(-1), main_param


def _distributed(wrapped: Any, optimizer: Any) -> Found:
    for name, parameter in wrapped.module.named_parameters():
        if parameter in optimizer.model_param_gbuf_map:  # else other ranks have all of it
            start = optimizer._get_model_param_range_map(parameter)["param"].start
            group, order = optimizer.model_param_group_index_map[parameter]
            main_param = optimizer.optimizer.param_groups[group]["params"][order]
            yield name, start, main_param.data.view(-1), main_param


def _fully_sharded(wrapped: Any, optimizer: Any) -> Found:
    for name, main_param in wrapped.param_and_grad_buffer.optimizer_named_parameters:
        weight = main_param.data.to_local().view(-1)
        if main_param.requires_grad and weight.numel():
            yield name, main_param.megatron_fsdp_slice.start, weight, main_param
