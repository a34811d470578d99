"""Packs shared out over data-parallel processes, and their answers gathered again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.console import progress
from d2plm_megatron.parallel.megatron import parallel_state
from d2plm_megatron.parallel.processes import Processes

Answer = TypeVar("Answer")
Told = TypeVar("Told")


@contextmanager
def shared_progress(description: str, total: int, unit: str, processes: Processes) -> Iterator[Callable[[int], None]]:
    """The main process's bar; its own share stands for those of the other data-parallel ranks, which advance alike."""
    size = processes.data_size
    with by_main(progress(description, total, unit), processes) as advance:
        done = 0

        def advance_all(amount: int) -> None:
            nonlocal done
            amount = min(amount * size, total - done)
            done += amount
            advance(amount)

        yield advance_all


def by_main(
    opened: AbstractContextManager[Callable[[Told], object]], processes: Processes
) -> AbstractContextManager[Callable[[Told], object]]:
    """A bar or a table that the main process alone opens; what the others tell goes nowhere."""
    return opened if processes.is_main else nullcontext(_nowhere)


def _nowhere(told: object) -> None:
    pass


@torch.inference_mode()
def answers(packs: Sequence[TokenBatch], answer: Callable[[TokenBatch], Answer], processes: Processes) -> list[Answer]:
    """The answer to each pack, in their order, on every process; each is computed by one data-parallel rank.

    Args:
        packs: the same on all processes.
        answer: of a pack on this process's device; what it returns must be possible to pickle.
        processes: that share the packs out. They all take part.
    """
    rank, size = processes.data_rank, processes.data_size
    own = [answer(pack.to(processes.device)) for pack in packs[rank::size]]
    if size == 1:
        return own
    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, own, group=parallel_state.get_data_parallel_group())
    return [parts[number % size][number // size] for number in range(len(packs))]


def summed(values: Tensor, processes: Processes) -> Tensor:
    """The sum of what each data-parallel rank has counted, on the CPU of every process. They all take part."""
    parts: list[Any] = [values.cpu()] * processes.data_size
    if processes.data_size > 1:
        dist.all_gather_object(parts, values.cpu(), group=parallel_state.get_data_parallel_group())
    return torch.stack(parts).sum(0)
