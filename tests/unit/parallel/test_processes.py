"""Processes leave their group in good order, or at once when one of them has failed."""

import pytest
import torch.distributed as dist

from d2plm_megatron.parallel.processes import joined


@pytest.fixture
def left_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the process group was left, each time."""
    ways: list[str] = []
    for owner, name in ((dist, "destroy_process_group"), (dist.distributed_c10d, "_abort_process_group")):
        leave = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda leave=leave, name=name: (ways.append(name), leave()))
    return ways


def test_a_block_that_ends_well_waits_for_the_others(left_by: list[str]) -> None:
    with joined():
        assert dist.is_initialized()
    assert left_by == ["destroy_process_group"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("mine"), RuntimeError("mine")])
def test_a_block_that_fails_does_not_wait(error: BaseException, left_by: list[str]) -> None:
    """NCCL would wait for ranks that wait for this one in a collective that it will never reach."""
    with pytest.raises(type(error), match=str(error)), joined():
        raise error
    assert left_by == ["_abort_process_group"]
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    "error", [dist.DistBackendError("NCCL: remote error\nmore"), RuntimeError("[gloo/pair.cc:1] Connection closed")]
)
def test_failed_communication_is_told_as_such(error: Exception, left_by: list[str]) -> None:
    told = r"process 0: another process has ended, .* within 7 s; .* from its last checkpoint"
    with pytest.raises(ConnectionError, match=told), joined(timeout_s=7):
        raise error
    assert left_by == ["_abort_process_group"]
