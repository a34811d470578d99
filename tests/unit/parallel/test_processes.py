"""Processes leave their group in good order, or at once when one of them has failed."""

import time
from datetime import timedelta
from threading import Thread

import pytest
import torch
import torch.distributed as dist

from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.processes import _device, _farewell, parallel_context, process_group


@pytest.fixture
def left_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the process group was left, each time."""
    ways: list[str] = []
    for owner, name in ((dist, "destroy_process_group"), (dist.distributed_c10d, "_abort_process_group")):
        leave = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda leave=leave, name=name: (ways.append(name), leave()))
    return ways


def test_a_block_that_ends_well_waits_for_the_others(left_by: list[str]) -> None:
    with process_group():
        assert dist.is_initialized()
    assert left_by == ["destroy_process_group"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("mine"), RuntimeError("mine")])
def test_a_block_that_fails_does_not_wait(error: BaseException, left_by: list[str]) -> None:
    """NCCL would wait for ranks that wait for this one in a collective that it will never reach."""
    with pytest.raises(type(error), match=str(error)), process_group():
        raise error
    assert left_by == ["_abort_process_group"]
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    "error", [dist.DistBackendError("NCCL: remote error\nmore"), RuntimeError("[gloo/pair.cc:1] Connection closed")]
)
def test_failed_communication_is_told_as_such(error: Exception, left_by: list[str]) -> None:
    told = r"process 0: another process has ended, .* within 7 s; .* from its last checkpoint"
    with pytest.raises(ConnectionError, match=told), process_group(timeout_s=7):
        raise error
    assert left_by == ["_abort_process_group"]


def test_a_context_is_shared_and_the_last_who_leaves_ends_it() -> None:
    first, second, third = parallel_context(), parallel_context(Parallel()), parallel_context()
    assert first.__enter__() is second.__enter__()
    first.__exit__(None, None, None)
    assert third.__enter__().world_size == 1
    second.__exit__(None, None, None)
    assert dist.is_initialized()
    third.__exit__(None, None, None)
    assert not dist.is_initialized()


def test_an_error_reaches_the_context_through_all_who_share_it() -> None:
    with pytest.raises(ConnectionError, match="another process has ended"), parallel_context(), parallel_context():
        raise RuntimeError("[gloo/pair.cc:1] Connection closed")
    assert not dist.is_initialized()
    with parallel_context():
        assert dist.is_initialized()


def test_nobody_leaves_before_all_are_done_and_the_first_leaves_last() -> None:
    """The first may hold the store; and srun ends the others when a process leaves with a code other than 0."""
    store, size, events = dist.HashStore(), 3, []

    def process(rank: int) -> None:
        time.sleep(0.1 * (size - rank))
        events.append(("done", rank))
        with _farewell(store, rank, size, timedelta(seconds=20)):
            events.append(("leaving", rank))
            time.sleep(0.1 * rank)
            events.append(("left", rank))
        events.append(("gone", rank))

    threads = [Thread(target=process, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for name, _ in events]
    assert names[:3] == ["done"] * 3
    assert events.index(("gone", 0)) > max(events.index(("left", rank)) for rank in range(size))


def test_a_process_that_never_comes_is_told_of() -> None:
    store = dist.HashStore()
    with pytest.raises(dist.DistError), _farewell(store, 0, 2, timedelta(seconds=0.1)):
        raise AssertionError("the other has not come")


@pytest.mark.parametrize(("gpus", "place"), [(8, 3), (1, 0)])
def test_gpu_is_that_of_the_local_rank_or_the_only_one(gpus: int, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm may show each process its own GPU alone."""
    used = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    assert _device() == torch.device("cuda", place)
    assert used == [torch.device("cuda", place)]
