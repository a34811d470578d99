"""Megatron's optimizers and data-parallel wrappers from inside: where fp32 weights are, and when they move."""

from collections.abc import Iterator
from typing import Any

import torch
from megatron.core import __version__
from torch import Tensor

from d2plm_megatron.parallel.megatron import (
    ChainedOptimizer,
    DistributedDataParallel,
    DistributedOptimizer,
    Float16OptimizerWithFloat16Params,
    FP32Optimizer,
    FullyShardedDataParallel,
    MegatronOptimizer,
    OptimizerConfig,
    to_local_if_dtensor,
)

Wrapped = DistributedDataParallel | FullyShardedDataParallel
"""The encoder inside one of Megatron's data-parallel wrappers."""


def only_part(optimizer: MegatronOptimizer) -> MegatronOptimizer:
    """Megatron's optimizer behind its chain of optimizers, where it makes one: of one part, as there are no experts."""
    parts = optimizer.chained_optimizers if isinstance(optimizer, ChainedOptimizer) else [optimizer]
    assert len(parts) == 1, f"Megatron-core {__version__} made {len(parts)} optimizers, of which one would be saved"
    return parts[0]


def make_moments(part: MegatronOptimizer, config: OptimizerConfig) -> None:
    """Gives a fused optimizer its moments before its first step, each of the shape of what this rank steps."""
    part.init_state_fn(part.optimizer, config)


def set_rate(optimizer: MegatronOptimizer, rate: float, weight_decay: float) -> None:
    """The learning rate and the weight decay of the next step. Megatron has marked what is spared from decay."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay * group["wd_mult"]


def whole_weight(parameter: Tensor) -> Tensor:
    """What an optimizer that is not sharded steps: the parameter itself, or, where it has 16 bits, its fp32 copy."""
    return parameter if parameter.dtype == torch.float32 else _mark(parameter, "main_param")


def own_run(part: MegatronOptimizer, parameter: Tensor) -> tuple[int, Tensor] | None:
    """What of a parameter the distributed optimizer steps on this rank: where it begins, flattened, and its weights."""
    assert isinstance(part, DistributedOptimizer), f"{type(part).__name__} is not sharded"
    if parameter not in part.model_param_gbuf_map:
        return None
    start = part._get_model_param_range_map(parameter)["param"].start
    group, order = part.model_param_group_index_map[parameter]
    return start, part.optimizer.param_groups[group]["params"][order]


def fsdp_runs(wrapped: Wrapped) -> Iterator[tuple[str, int, Tensor, Tensor]]:
    """What FSDP keeps here of each parameter: its name, where the run begins, flattened; the run; what is stepped."""
    assert isinstance(wrapped, FullyShardedDataParallel), f"{type(wrapped).__name__} does not shard parameters"
    for name, main_param in wrapped.param_and_grad_buffer.optimizer_named_parameters:
        weight = to_local_if_dtensor(main_param.data).view(-1)
        if weight.numel():
            yield name, _mark(main_param, "megatron_fsdp_slice").start, weight, main_param


def round_to_model(part: MegatronOptimizer) -> None:
    """Copies the fp32 weights to those that the encoder computes with, where they are not the same."""
    if isinstance(part, FP32Optimizer):
        return
    assert isinstance(part, Float16OptimizerWithFloat16Params | DistributedOptimizer), f"unknown: {type(part).__name__}"
    part._copy_main_params_to_model_params()


def gather(wrapped: Wrapped) -> None:
    """Collects the weights that other ranks have stepped. FSDP does so layer by layer, when they are used."""
    wrapped.start_param_sync(force_sync=isinstance(wrapped, DistributedDataParallel))


def wait_for_gather(wrapped: Wrapped) -> None:
    """To be called before writing to weights: FSDP may be gathering them ahead, and would keep the old ones."""
    if isinstance(wrapped, FullyShardedDataParallel):
        wrapped.stop_communication()


def spare_frozen(encoder: torch.nn.Module) -> None:
    """To be called before FSDP wraps: it hooks every parameter, which torch refuses where there is no gradient."""
    for parameter in encoder.parameters():
        if not parameter.requires_grad:
            setattr(parameter, "register_post_accumulate_grad_hook", _no_hook)  # noqa: B010  (a method, to mypy)


def _no_hook(hook: object) -> None:
    """In the place of a method of a parameter that has no gradient."""


def num_buckets(wrapped: Wrapped) -> int:
    """In how many parts gradients are added up while others are computed; FSDP has none but its layers."""
    return len(wrapped.bucket_groups) if isinstance(wrapped, DistributedDataParallel) else 0


def kept_weights(wrapped: Wrapped) -> list[Tensor]:
    """What a rank keeps of the weights that the encoder computes with: under FSDP its shards alone."""
    if isinstance(wrapped, FullyShardedDataParallel):
        groups = wrapped.param_and_grad_buffer.parameter_groups
        return [group.model_weight_buffer.data for group in groups]
    return [parameter.data for parameter in wrapped.parameters()]


def kept_gradients(wrapped: Wrapped) -> list[Tensor]:
    """Where the gradients of all passes of a step are added up, in fp32."""
    if isinstance(wrapped, FullyShardedDataParallel):
        groups = wrapped.param_and_grad_buffer.parameter_groups
        return [group.main_grad_buffer.data for group in groups if group.main_grad_buffer]
    return [buffer.grad_data for buffer in wrapped.buffers]


def moments(part: MegatronOptimizer) -> list[Tensor]:
    """All that torch's optimizer keeps beside the weights that it steps."""
    if part.optimizer is None:  # of a stage that has nothing to train
        return []
    values = [value for state in part.optimizer.state.values() for value in state.values()]
    return [to_local_if_dtensor(value) for value in values if isinstance(value, Tensor)]


def _mark(parameter: Tensor, name: str) -> Any:
    """What Megatron has hung on a parameter."""
    assert hasattr(parameter, name), f"Megatron-core {__version__} gives parameters no {name}; see fragile.py"
    return getattr(parameter, name)
