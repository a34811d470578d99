"""Tensors that have a shape and no data, and processes that are not there: enough to run Megatron's code of one rank.

Where that code reads the numbers in a tensor, or torch does otherwise to such tensors, something stands in for it. On
exit everything is as it was.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import megatron.core.distributed.fsdp.src.megatron_fsdp.param_and_grad_buffer as fsdp_buffers
import torch.distributed as dist
from torch._subclasses import fake_tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.testing._internal.distributed import fake_pg

from d2plm_megatron.parallel.megatron import FullyShardedDataParallel

MESH = DeviceMesh.mesh.fget  # type: ignore[attr-defined]  # a property, in this version


@contextmanager
def absent_processes(rank: int, world_size: int) -> Iterator[None]:
    """This process as one of many that are not there. Objects that it gathers are its own, as often as asked."""

    def gathered_object(gathered: list, mine: Any, group: Any = None) -> None:
        gathered[:] = [mine] * len(gathered)

    new_group = dist.new_group
    answers = {
        "new_group": lambda *args, **kwargs: new_group(*args, **{**kwargs, "backend": "fake"}),  # those of gloo, too
        "all_gather_object": gathered_object,
        "broadcast_object_list": lambda *args, **kwargs: None,
    }
    with ExitStack() as undo:
        for name, answer in answers.items():
            undo.enter_context(patch.object(dist, name, answer))
        # Nobody is there to tell whether the shards make up the whole, or what state another's generator is in.
        undo.enter_context(patch.object(fsdp_buffers, "validate_uneven_dtensor", lambda tensor: None))
        undo.enter_context(patch.object(FullyShardedDataParallel, "sync_rng_states_across_tp_group", lambda self: None))
        undo.enter_context(patch.object(sys, "excepthook", sys.excepthook))  # torch puts the rank before every line
        dist.init_process_group("fake", store=fake_pg.FakeStore(), rank=rank, world_size=world_size)
        try:
            yield
        finally:
            dist.destroy_process_group()


@contextmanager
def tensors_without_data() -> Iterator[None]:
    """Tensors made inside have no data."""
    index = FullyShardedDataParallel._init_dist_index
    with ExitStack() as undo:
        # Tables of ranks must hold numbers.
        undo.enter_context(patch.object(DeviceMesh, "mesh", property(_with_data(MESH))))
        undo.enter_context(patch.object(FullyShardedDataParallel, "_init_dist_index", _with_data(index)))
        undo.enter_context(fake_tensor.FakeTensorMode(allow_non_fake_inputs=True))
        yield


def _with_data(function: Callable) -> Callable:
    """The same function, whose tensors have data."""

    def run(*args: Any) -> Any:
        with fake_tensor.unset_fake_temporarily():
            return function(*args)

    return run
