"""The processes of a run, joined, and grouped into tensor, pipeline and data ranks."""

import atexit
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist

from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.launched import adopt_slurm, check_layout, world_size
from d2plm_megatron.parallel.megatron import model_parallel_cuda_manual_seed, parallel_state
from d2plm_megatron.parallel.megatron.cuda_on_cpu import megatron_on_cpu
from d2plm_megatron.parallel.megatron.torch_internals import abort_process_group


@dataclass(frozen=True)
class Processes:
    """What this process is among the others."""

    rank: int
    world_size: int
    device: torch.device
    data_rank: int
    data_size: int

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and speaks to the user."""
        return self.rank == 0


@dataclass
class _Shared:
    """The context that is in force in this process, which the last of those who share it ends."""

    parallel: Parallel
    processes: Processes
    stack: ExitStack
    users: int = 0

    def leave(self, *error: Any) -> bool | None:
        """Like `__exit__` of the context for the last user, and nothing for the others."""
        global _shared
        self.users -= 1
        if self.users:
            return None
        _shared = None
        return self.stack.__exit__(*error)


_shared: _Shared | None = None


@contextmanager
def parallel_context(parallel: Parallel | None = None) -> Iterator[Processes]:
    """Joins the processes, groups them as the recipe says, and parts from them at the end.

    With CUDA, over NCCL, each process on the GPU of its local rank; without, over gloo on the CPU. Where such a context
    is in force already, it is shared; whoever leaves last ends it, in whatever order they came.

    Args:
        parallel: the layout; None for the one in force, or data parallelism alone.

    Raises ValueError when the processes cannot be grouped so, or another layout is in force.
    """
    global _shared
    adopt_slurm()
    if _shared is None:
        _shared = _begin(parallel or Parallel())
    elif parallel and (parallel.tensor, parallel.pipeline) != (_shared.parallel.tensor, _shared.parallel.pipeline):
        raise ValueError(
            f"parallel.tensor={parallel.tensor} x parallel.pipeline={parallel.pipeline}: this process works with "
            f"{_shared.parallel.tensor} x {_shared.parallel.pipeline}, which a model or a training that is still open "
            "has begun; close it first"
        )
    shared = _shared
    shared.users += 1
    with ExitStack() as end:
        end.push(shared.leave)
        yield shared.processes


def _begin(parallel: Parallel) -> _Shared:
    check_layout(parallel, world_size())
    with ExitStack() as stack:
        device = stack.enter_context(process_group(parallel.timeout_s))
        processes = stack.enter_context(model_parallel(parallel, device))
        shared = _Shared(parallel, processes, stack.pop_all())
    # What nobody has closed ends with the interpreter, while its modules are there, and waits for no other process.
    atexit.register(lambda: shared.stack.__exit__(SystemExit, SystemExit(), None))
    return shared


@contextmanager
def process_group(timeout_s: int = Parallel.timeout_s) -> Iterator[torch.device]:
    """Joins the processes that torchrun started, or stays alone; yields this process's device.

    Raises ConnectionError when another process ends, or does not answer within the timeout.
    """
    with warnings.catch_warnings(), megatron_on_cpu():
        silence_megatron()
        device = _device()
        backend = "nccl" if device.type == "cuda" else "gloo"
        store, rank, size = _meet(timeout_s)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout_s))
        with _left_at_the_end(store, timeout_s):
            yield device


@contextmanager
def _left_at_the_end(store: dist.Store, timeout_s: int) -> Iterator[None]:
    """Leaves the process group: together when the block ends well, else without waiting for the others."""
    try:
        yield
        with _farewell(store, dist.get_rank(), dist.get_world_size(), timedelta(seconds=timeout_s)):
            dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):  # gloo's own errors are of no other class
            raise
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"process {dist.get_rank()}: another process has ended, or did not answer within {timeout_s} s; its "
            f"own message says why; started again, the run continues from its last checkpoint ({reason})"
        ) from error
    finally:
        if dist.is_initialized():  # NCCL would wait for those that wait for this process
            abort_process_group()


@contextmanager
def _farewell(store: dist.Store, rank: int, size: int, timeout: timedelta) -> Iterator[None]:
    """Begins the block when all processes have come to it, and ends it in the first when all others have ended theirs.

    The first may be the one that holds the store. And a launcher that ends a job with the first process that leaves
    would else end those that are still writing.
    """
    if store.add("ready", 1) == size:
        store.set("all_ready", "")
    store.wait(["all_ready"], timeout)
    yield
    if rank != 0 and store.add("left", 1) == size - 1:
        store.set("all_left", "")
    if rank == 0 and size > 1:
        store.wait(["all_left"], timeout)


_meetings = count()
"""Every process meets the others as often, and each time apart from what was left in the store before."""


def _meet(timeout_s: int) -> tuple[dist.Store, int, int]:
    """Where the processes find one another; this one's rank; how many they are."""
    if "RANK" not in os.environ:
        return dist.HashStore(), 0, 1
    store, rank, size = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=timeout_s))))
    # When torchrun starts killed processes again, the addresses of the ones before still lie in its store. Its count
    # of attempts tells them apart; but several torchruns, one per node, do not agree about it.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if os.environ.get("GROUP_WORLD_SIZE") == "1" else "0"
    return dist.PrefixStore(f"attempt_{attempt}_{next(_meetings)}", store), rank, size


@contextmanager
def model_parallel(parallel: Parallel, device: torch.device) -> Iterator[Processes]:
    """Groups joined processes into tensor, pipeline and data-parallel ranks."""
    data_size = check_layout(parallel, dist.get_world_size())
    parallel_state.initialize_model_parallel(
        parallel.tensor,
        parallel.pipeline,
        distributed_timeout_minutes=parallel.timeout_s / 60,  # type: ignore[arg-type]  # parts of minutes count too
    )
    model_parallel_cuda_manual_seed(0)  # Megatron wants it set; nothing here draws from its generators
    try:
        yield Processes(
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            device=device,
            data_rank=parallel_state.get_data_parallel_rank(),
            data_size=data_size,
        )
    finally:
        parallel_state.destroy_model_parallel()


def silence_megatron() -> None:
    """Leaves out what Megatron does that torch will once no longer allow, and what it says to its own developers."""
    logging.getLogger("megatron").setLevel(logging.ERROR)
    for module in (r"megatron\.", r"torch\.distributed\."):
        warnings.filterwarnings("ignore", module=module)
    warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Slurm may show each process its own GPU alone.
    place = int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.device_count() > 1 else 0
    device = torch.device("cuda", place)
    use(device)
    return device


def use(device: torch.device) -> None:
    """Makes this thread use the process's GPU, if it has one: each thread begins with the first of the machine."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
