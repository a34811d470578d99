"""Every operation of this thread below autograd, told to who keeps an account of it: tensors, collectives, arithmetic.

Torch's dispatch modes are private to it, and so is most of what is asked here; fragile.py lists it.
"""

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.utils._pytree
from torch import Tensor
from torch._subclasses import fake_tensor
from torch.distributed.tensor import DTensor
from torch.utils import flop_counter

PASSED_ON = ("send", "recv")
"""Collectives between two ranks of a group."""

aten = torch.ops.aten
AS_COUNTED = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}
"""The attention of a CPU, which torch forgets when it counts, and that of a GPU, which does the same."""


class Account(Protocol):
    """Who is told."""

    def lives(self, key: int, num_bytes: int, maker: str) -> None:
        """A storage has come to life, or to another size: by the name of the operation that made it so."""

    def dies(self, key: int) -> None:
        """A storage is gone."""

    def computes(self, num_flops: int) -> None:
        """An operation is done, of so many floating-point operations."""

    def communicates(
        self, collective: str, ranks: tuple[int, ...], peer: int | None, num_bytes: int, outputs: Sequence[int]
    ) -> None:
        """A collective is called by the ranks of a group, or a message passed to or from `peer`.

        num_bytes are those of the larger side, its inputs or its outputs; `outputs` are the keys of the latter.
        """


class Watched(torch.utils._python_dispatch.TorchDispatchMode):
    """Tells an account of what is done inside its block.

    Args:
        account: who is told.
        without_data: tensors have none, so it also gives the answers that they cannot: a number that is read from one
            is 1, and a collective is finished when it has been called.
    """

    def __init__(self, account: Account, without_data: bool) -> None:
        super().__init__()
        self.account, self.without_data = account, without_data
        self._alive: dict[int, tuple[int, weakref.ref]] = {}

    def __enter__(self) -> Self:
        # FSDP frees and regrows its buffers by resizing their storages, of which no operation tells.
        resize = torch.UntypedStorage.resize_

        def told(storage: torch.UntypedStorage, size: int) -> Any:
            done = resize(storage, size)
            self._note(storage, "resize")
            return done

        self._resizing = patch.object(torch.UntypedStorage, "resize_", told)
        self._resizing.start()
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._resizing.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # FSDP's: comes again, once for each operation on what is inside
        if func is torch.ops.prim.device.default:
            return func(*args)
        if func.namespace == "c10d":
            self._tell_collective(func, args)
            if self.without_data:
                self.account.computes(0)
                return _finished(func, args)
        if self.without_data and _reads_a_number(func, args):
            self.account.computes(0)
            return 1.0 if args[0].is_floating_point() else 1
        result = func(*args, **(kwargs or {}))
        formula = flop_counter.flop_registry.get(AS_COUNTED.get(func._overloadpacket, func._overloadpacket))
        self.account.computes(formula(*args, **(kwargs or {}), out_val=result) if formula else 0)
        for tensor in _tensors(result):
            self._note(tensor.untyped_storage(), func._overloadpacket.__name__)
        return result

    def _note(self, storage: torch.UntypedStorage, maker: str) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            if self._alive[key][0] == size:
                return
            self._forget(key)
        self._alive[key] = size, weakref.ref(storage, lambda _: self._forget(key))
        self.account.lives(key, size, maker)

    def _forget(self, key: int) -> None:
        if self._alive.pop(key, None):
            self.account.dies(key)

    def _tell_collective(self, func: Any, args: tuple) -> None:
        """The first two arguments of c10d's operations are tensors, or outputs and inputs; one is the group."""
        sides = [_tensors(arg) for arg in args[:2]]
        group = next(arg for arg in args if isinstance(arg, torch.ScriptObject) and "ProcessGroup" in str(arg._type()))
        ranks = tuple(dist.get_process_group_ranks(dist.ProcessGroup.unbox(group)))
        collective = func._overloadpacket.__name__.strip("_")
        self.account.communicates(
            collective,
            ranks,
            ranks[args[2]] if collective in PASSED_ON else None,
            max(sum(tensor.nbytes for tensor in side) for side in sides),
            [tensor.untyped_storage()._cdata for tensor in sides[0]],
        )


def _reads_a_number(func: Any, args: tuple) -> bool:
    return func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], fake_tensor.FakeTensor)


def _finished(func: Any, args: tuple) -> Any:
    """What a collective among processes that are not there gives: its outputs as they were, and that it is done."""
    work = torch._C._distributed_c10d.FakeWork().boxed()
    return (args[0], work) if len(func._schema.returns) == 2 else work


def _tensors(value: Any) -> list[Tensor]:
    """In a result or an argument, which may be a list of them, or lists of lists."""
    if isinstance(value, Tensor):
        return [value]
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def storage_sizes(tensors: Sequence[Tensor]) -> dict[int, int]:
    """The storages behind some tensors, each once: their keys, and their sizes in bytes."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage._cdata: storage.nbytes() for storage in storages}
