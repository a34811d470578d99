"""Inside `megatron_on_cpu` torch.cuda answers with the CPU; outside nothing is left of it."""

from types import ModuleType

import pytest
import torch
from megatron.core import optimizer
from megatron.core.distributed.fsdp import mcore_fsdp_adapter
from megatron.core.distributed.fsdp.src.megatron_fsdp import param_and_grad_buffer
from megatron.core.tensor_parallel import random

from d2plm_megatron.parallel.megatron.cuda_on_cpu import megatron_on_cpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="is for machines without CUDA")

PATCHED: list[ModuleType] = [
    torch.cuda,
    torch.cuda.random,
    mcore_fsdp_adapter,
    optimizer,
    param_and_grad_buffer,
    random,
]


def attributes() -> list[dict[str, object]]:
    return [dict(vars(module)) for module in PATCHED]


def assert_inactive(before: list[dict[str, object]]) -> None:
    for module, old in zip(PATCHED, before, strict=True):
        now = dict(vars(module))
        assert now.keys() == old.keys(), module
        assert not [name for name in old if now[name] is not old[name]], module
    for use in (lambda: torch.ones(1).cuda(), lambda: torch.ones(1, device="cuda"), torch.cuda.current_device):
        with pytest.raises((AssertionError, RuntimeError)):
            use()


def test_cuda_is_the_cpu_inside() -> None:
    with megatron_on_cpu():
        tensor = torch.arange(3.0)
        assert tensor.cuda() is tensor
        for device in ("cuda", "cuda:0", torch.device("cuda"), torch.cuda.current_device()):
            assert torch.zeros(2, device=device).device.type == "cpu"
            assert tensor.to(device).device.type == "cpu"
        assert tensor.type() == "torch.cuda.FloatTensor"
        assert torch.empty(2, pin_memory=True).device.type == "cpu"
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.Stream())
        state = torch.cuda.get_rng_state()
        drawn = torch.rand(2)
        torch.cuda.set_rng_state(state)
        assert torch.equal(torch.rand(2), drawn)
        assert not torch.cuda.is_available()


def test_everything_is_undone_on_exit() -> None:
    before = attributes()
    with megatron_on_cpu():
        assert torch.cuda.Stream is not before[0]["Stream"]
    assert_inactive(before)


def test_everything_is_undone_when_the_body_raises() -> None:
    before = attributes()
    with pytest.raises(ZeroDivisionError), megatron_on_cpu():
        _ = 1 / 0
    assert_inactive(before)


def test_nesting_ends_with_the_outer_block() -> None:
    before = attributes()
    with megatron_on_cpu():
        with megatron_on_cpu():
            pass
        assert torch.ones(1).cuda().device.type == "cpu"
        with pytest.raises(ZeroDivisionError), megatron_on_cpu():
            _ = 1 / 0
        assert torch.ones(1, device="cuda").device.type == "cpu"
    assert_inactive(before)


def test_gradients_flow_inside() -> None:
    """Autograd runs in a thread of its own, where the redirection of devices does not hold."""
    with megatron_on_cpu():
        weight = torch.ones(3, device="cuda", requires_grad=True)
        weight.cuda().square().sum().backward()
        assert torch.equal(weight.grad, torch.full((3,), 2.0))


def test_optimizer_is_one_that_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megatron chooses when it is imported, by what is installed, and that may be for GPUs alone."""
    monkeypatch.setattr(optimizer, "Adam", object)
    monkeypatch.setattr(optimizer, "USING_PYTORCH_OPTIMIZER", False)
    with megatron_on_cpu():
        assert optimizer.Adam is torch.optim.AdamW
        assert optimizer.USING_PYTORCH_OPTIMIZER
    assert optimizer.Adam is object


def test_does_nothing_where_there_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = attributes()
    with megatron_on_cpu():
        assert attributes() == before
