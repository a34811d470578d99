"""The processes of a run: started by torchrun, or one alone; grouped into tensor, pipeline and data ranks."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.cuda_on_cpu import megatron_on_cpu

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Processes:
    """What this process is among the others."""

    rank: int
    world_size: int
    device: torch.device
    data_rank: int
    data_size: int
    is_first_stage: bool
    is_last_stage: bool

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and speaks to the user."""
        return self.rank == 0


def world_size() -> int:
    """Number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_layout(parallel: Parallel, num_processes: int) -> int:
    """Number of data-parallel ranks. Raises ValueError when the processes cannot be grouped as the recipe says."""
    model_size = parallel.tensor * parallel.pipeline
    if num_processes % model_size:
        raise ValueError(
            f"parallel.tensor={parallel.tensor} x parallel.pipeline={parallel.pipeline}: needs a multiple of "
            f"{model_size} processes, but there are {num_processes}; start torchrun with --nproc-per-node {model_size}"
        )
    return num_processes // model_size


@contextmanager
def started(parallel: Parallel) -> Iterator[Processes]:
    """Joins the processes, groups them as the recipe says, and parts from them at the end.

    With CUDA, over NCCL, each process on the GPU of its local rank; without, over gloo on the CPU.
    """
    check_layout(parallel, world_size())
    with joined() as device, grouped(parallel, device) as processes:
        yield processes


@contextmanager
def joined() -> Iterator[torch.device]:
    """Joins the processes that torchrun started, or stays alone; yields this process's device."""
    with warnings.catch_warnings(), megatron_on_cpu():
        _silence_megatron()
        device = _device()
        backend = "nccl" if device.type == "cuda" else "gloo"
        if "RANK" in os.environ:
            dist.init_process_group(backend, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=TIMEOUT)
        try:
            yield device
        finally:
            dist.destroy_process_group()


@contextmanager
def grouped(parallel: Parallel, device: torch.device) -> Iterator[Processes]:
    """Groups joined processes into tensor, pipeline and data-parallel ranks."""
    data_size = check_layout(parallel, dist.get_world_size())
    parallel_state.initialize_model_parallel(parallel.tensor, parallel.pipeline)
    model_parallel_cuda_manual_seed(0)  # Megatron wants it set; nothing here draws from its generators
    try:
        yield Processes(
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            device=device,
            data_rank=parallel_state.get_data_parallel_rank(),
            data_size=data_size,
            is_first_stage=parallel_state.is_pipeline_first_stage(),
            is_last_stage=parallel_state.is_pipeline_last_stage(),
        )
    finally:
        parallel_state.destroy_model_parallel()


def _silence_megatron() -> None:
    """Leaves out what Megatron does that torch will once no longer allow, and what it says to its own developers."""
    logging.getLogger("megatron").setLevel(logging.ERROR)
    for module in (r"megatron\.", r"torch\.distributed\."):
        warnings.filterwarnings("ignore", module=module)
    warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
