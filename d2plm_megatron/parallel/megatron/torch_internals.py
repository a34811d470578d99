"""What torch keeps to itself and we use nevertheless. fragile.py says why."""

from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d


def abort_process_group() -> None:
    """Leaves every process group without waiting for the others, as destroy_process_group would over NCCL."""
    distributed_c10d._abort_process_group()


def coalesced(group: dist.ProcessGroup) -> AbstractContextManager:
    """The collectives of the block as one."""
    return distributed_c10d._coalescing_manager(group)


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """The 2-norm of each, in few kernels."""
    return list(torch._foreach_norm(tensors)) if tensors else []


def multiply(tensors: list[Tensor], factor: float) -> None:
    """Each by the same number, in place, in few kernels."""
    if tensors:
        torch._foreach_mul_(tensors, factor)


def lerp(tensors: list[Tensor], towards: list[Tensor], weight: float) -> None:
    """tensor <- tensor + weight (towards - tensor), each in place, in few kernels."""
    if tensors:
        torch._foreach_lerp_(tensors, towards, weight)
