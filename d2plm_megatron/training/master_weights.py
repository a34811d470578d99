"""The fp32 weights that the optimizer steps, wherever Megatron keeps them, each with its place in the whole model.

Without sharding every data-parallel rank has all of them (beside bf16 weights, or as the fp32 weights themselves); the
distributed optimizer gives each rank a run of each parameter, and FSDP does so too, in its own buffers. Averages and
checkpoints work on these shards and need not know which it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2plm_megatron.model.sharding import TensorSlice
from d2plm_megatron.parallel.megatron import MegatronOptimizer, optimizers, to_local_if_dtensor
from d2plm_megatron.parallel.megatron.torch_internals import norms


@dataclass(frozen=True)
class Shard:
    """The part of one parameter that this rank steps.

    Attributes:
        start: where it begins in the flattened local parameter.
        slices: where its elements belong in the whole model.
        weight: fp32, flat; the storage that the optimizer writes to.
        main_param: what the optimizer keys its state by.
    """

    start: int
    slices: tuple[TensorSlice, ...]
    weight: Tensor
    main_param: Tensor

    def slice(self, values: Tensor) -> Iterator[tuple[TensorSlice, Tensor]]:
        """Each slice with its view of `values`, which run along with `weight`."""
        flat = values.view(-1)
        for slice_ in self.slices:
            yield slice_, flat[slice_.start - self.start : slice_.stop - self.start].view(slice_.shape)


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
    optimizer: MegatronOptimizer
    wrapped: optimizers.Wrapped
    sharded: bool

    @property
    def weights(self) -> list[Tensor]:
        """The fp32 storage of every shard."""
        return [shard.weight for shard in self.shards]

    def sliced(self, values: Sequence[Tensor]) -> Iterator[tuple[TensorSlice, Tensor]]:
        """Every slice of every shard with its view of `values`, one for each shard, such as the weights."""
        for shard, of_shard in zip(self.shards, values, strict=True):
            yield from shard.slice(of_shard)

    @property
    def gradients(self) -> list[Tensor]:
        """Of every shard, fp32, once the optimizer has prepared them."""
        gradients = (shard.main_param.grad for shard in self.shards)
        return [to_local_if_dtensor(gradient) for gradient in gradients if gradient is not None]

    def squared_norm(self) -> Tensor:
        """Of the gradients, without what tensor- and pipeline-parallel ranks hold twice: a scalar, float64."""
        gradients = self.optimizer.get_main_grads_for_grad_norm()
        of_each = norms(gradients) if gradients else [torch.zeros(1, device=torch.cuda.current_device())]
        return torch.stack(of_each).double().square().sum()

    def wait_for_gather(self) -> None:
        """To be called before writing to the weights: FSDP may be gathering them ahead, and would keep the old ones."""
        optimizers.wait_for_gather(self.wrapped)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Makes the encoder compute with the present fp32 weights: rounds them to its precision and gathers them."""
        optimizers.round_to_model(self.optimizer)
        if self.sharded:
            optimizers.gather(self.wrapped)


def collect(
    wrapped: optimizers.Wrapped,
    optimizer: MegatronOptimizer,
    sharding: str,
    slices_by_name: dict[str, list[TensorSlice]],
) -> MasterWeights:
    """Finds the fp32 weights behind a wrapped encoder.

    Args:
        wrapped: Megatron's DistributedDataParallel or FullyShardedDataParallel.
        optimizer: from get_megatron_optimizer, for this wrapper.
        sharding: parallel.sharding of the recipe.
        slices_by_name: from `slices_by_parameter`, taken before wrapping.
    """
    part = optimizers.only_part(optimizer)
    find = {"none": _whole, "optimizer": _distributed, "parameters": _fully_sharded}[sharding]
    shards = []
    for name, start, weight, main_param in find(wrapped, part):
        slices = [run for slice_ in slices_by_name[name] for run in slice_.slice(start, start + weight.numel())]
        if sharding != "none":  # then no other data-parallel rank holds the same
            slices = [replace(slice_, replica=(*slice_.replica[:-1], 0)) for slice_ in slices]
        shards.append(Shard(start, tuple(slices), weight, main_param))
    return MasterWeights(shards, part, wrapped, sharding != "none")


Found = Iterator[tuple[str, int, Tensor, Tensor]]


def _whole(wrapped: optimizers.Wrapped, part: MegatronOptimizer) -> Found:
    for name, parameter in wrapped.module.named_parameters():
        if parameter.requires_grad:
            main_param = optimizers.whole_weight(parameter)
            yield name, 0, main_param.data.view(-1), main_param


def _distributed(wrapped: optimizers.Wrapped, part: MegatronOptimizer) -> Found:
    for name, parameter in wrapped.module.named_parameters():
        if run := optimizers.own_run(part, parameter):  # else other ranks have all of it
            start, main_param = run
            yield name, start, main_param.data.view(-1), main_param


def _fully_sharded(wrapped: optimizers.Wrapped, part: MegatronOptimizer) -> Found:
    return (run for run in optimizers.fsdp_runs(wrapped) if run[-1].requires_grad)
