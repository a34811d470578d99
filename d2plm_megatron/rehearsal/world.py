"""A world of processes of which one is here, and which of them to rehearse."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.distributed as dist

from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.launched import check_layout
from d2plm_megatron.parallel.megatron import parallel_state
from d2plm_megatron.parallel.megatron.cuda_on_cpu import CPU, megatron_on_cpu
from d2plm_megatron.parallel.megatron.without_data import absent_processes
from d2plm_megatron.parallel.processes import Processes, model_parallel, silence_megatron
from d2plm_megatron.rehearsal.ledger import Ranks


@contextmanager
def as_rank(rank: int, world_size: int, parallel: Parallel) -> Iterator[Processes]:
    """This process as one rank of a world whose other processes are not there, on a CPU even where there is a GPU.

    Raises ValueError when the processes cannot be grouped so, or when this one is in real company.
    """
    check_layout(parallel, world_size)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank}: there is none among {world_size} processes; the last is {world_size - 1}")
    if dist.is_initialized():
        raise ValueError(
            "a rehearsal needs a process for itself, and this one works with a model or a training that is still open; "
            "close it first"
        )
    no_gpu = patch.object(torch.cuda, "is_available", lambda: False)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), no_gpu, megatron_on_cpu():
        silence_megatron()
        with absent_processes(rank, world_size), model_parallel(parallel, CPU) as processes:
            yield processes


def ranks_to_rehearse(parallel: Parallel, world_size: int) -> tuple[int, ...]:
    """The ranks that differ from others in what they hold or do, and neighbours of every kind.

    These are the first of the first two and of the last two pipeline stages, the tensor neighbour of rank 0, and the
    last data rank beside it. What they agree on, the ranks between them agree on.

    Raises ValueError when the processes cannot be grouped so.
    """
    data_size = check_layout(parallel, world_size)
    stage_size = parallel.tensor * data_size
    stages = [stage % parallel.pipeline for stage in (0, 1, -2, -1)]
    neighbours = [1 % parallel.tensor, parallel.tensor * (data_size - 1)]
    return tuple(sorted({*(stage * stage_size for stage in stages), *neighbours}))


def group_names() -> dict[Ranks, str]:
    """The groups of this rank that have more members, by their ranks; of two that are alike the more special name."""
    groups = {
        "world": dist.group.WORLD,
        "embedding": parallel_state.get_embedding_group(check_initialized=False),
        "model": parallel_state.get_model_parallel_group(),
        "pipeline": parallel_state.get_pipeline_model_parallel_group(),
        "data": parallel_state.get_data_parallel_group(),
        "tensor": parallel_state.get_tensor_model_parallel_group(),
    }
    found = {tuple(dist.get_process_group_ranks(group)): name for name, group in groups.items() if group is not None}
    return {ranks: name for ranks, name in found.items() if len(ranks) > 1}
