"""The real Megatron on a CPU: its questions to CUDA are answered with the CPU.

Megatron-core asks torch.cuda for the device, for streams and for the state of its generator in some 300 places. Inside
`megatron_on_cpu()`, and only where there is no CUDA, those questions have answers, so that its layers, distributed
optimizer, FSDP, pipeline schedules and checkpoints run unchanged over gloo. On exit everything is as it was.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import megatron.core.distributed.fsdp.mcore_fsdp_adapter as fsdp
import megatron.core.distributed.fsdp.src.megatron_fsdp.param_and_grad_buffer as fsdp_buffers
import megatron.core.optimizer as optimizer
import megatron.core.tensor_parallel.random as random
import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.overrides import TorchFunctionMode

from d2plm_megatron.parallel.megatron.torch_internals import coalesced

CPU = torch.device("cpu")


@contextmanager
def megatron_on_cpu() -> Iterator[None]:
    """Lets Megatron run here. Does nothing where CUDA is available, or where it is active already."""
    if torch.cuda.is_available() or torch.cuda.Stream is _NoStream:
        yield
        return
    with ExitStack() as undo:
        for target, name, value in [*_answers(), *_megatron_answers()]:
            undo.enter_context(patch.object(target, name, value))
        undo.enter_context(_RedirectToCpu())
        yield


class _RedirectToCpu(TorchFunctionMode):
    """Turns the device "cuda" in the arguments of torch functions into the CPU.

    The mode holds for the thread that enters it, not for autograd's own; that is why `current_device` answers with a
    device and not with an index, which would mean a GPU to a thread without the mode.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if kwargs:
            kwargs = dict(kwargs)
            if _is_cuda(kwargs.get("device")):
                kwargs["device"] = CPU
            kwargs.pop("pin_memory", None)
        if func is Tensor.cuda:
            return args[0]
        if func is Tensor.to and len(args) > 1 and _is_cuda(args[1]):
            args = (args[0], CPU, *args[2:])
        elif func is torch.device and args and _is_cuda(args[0]):
            return CPU
        elif func is Tensor.type and len(args) == 1 and not kwargs:
            # The distributed optimizer takes no parameter whose type() is not torch.cuda.*Tensor.
            return f"torch.cuda.{func(*args).rpartition('.')[2]}"
        return func(*args, **(kwargs or {}))


def _is_cuda(device: Any) -> bool:
    """Any spelling: Megatron also builds f"cuda:{current_device()}"."""
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.startswith("cuda")


class _NoStream:
    """Stands for a stream and an event: on a CPU every operation has finished when it returns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def wait_stream(self, *args: Any) -> None: ...

    def wait_event(self, *args: Any) -> None: ...

    def wait(self, *args: Any) -> None: ...

    def record(self, *args: Any) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def record_event(self, *args: Any) -> "_NoStream":
        return _NoStream()


@contextmanager
def _coalesced_and_done(group: ProcessGroup, *args: Any, **kwargs: Any) -> Iterator[_NoStream]:
    """Collectives as one, done at the end of the block: beside asynchronous ones FSDP crashed (gloo, torch 2.13)."""
    with coalesced(group):
        yield _NoStream()


def _answers() -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, value) for what torch.cuda is asked."""
    cuda = torch.cuda
    yield cuda, "current_device", lambda: CPU
    yield cuda, "synchronize", lambda *args, **kwargs: None
    yield cuda, "empty_cache", lambda: None
    yield cuda, "Stream", _NoStream
    yield cuda, "Event", _NoStream
    yield cuda, "current_stream", lambda *args, **kwargs: _NoStream()
    yield cuda, "stream", lambda stream: contextlib.nullcontext()
    yield cuda, "is_current_stream_capturing", lambda: False
    for module in (cuda, cuda.random):
        yield module, "get_rng_state", lambda *args, **kwargs: torch.get_rng_state()
        yield module, "set_rng_state", lambda state, *args, **kwargs: torch.set_rng_state(state)
        yield module, "manual_seed", lambda seed: torch.manual_seed(seed)


def _megatron_answers() -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, value) for Megatron's own modules."""
    yield fsdp_buffers, "_coalescing_manager", _coalesced_and_done
    yield random, "_set_cuda_rng_state", lambda state, *args, **kwargs: torch.set_rng_state(state)
    # Where Transformer Engine is installed, Megatron would take its optimizer, which is for GPUs alone.
    yield optimizer, "Adam", torch.optim.AdamW
    yield optimizer, "USING_PYTORCH_OPTIMIZER", True
    # Without Transformer Engine this name holds a mock, which isinstance() refuses; no module is of a class of our own.
    yield fsdp, "TELinear", type("NoTransformerEngine", (), {})
