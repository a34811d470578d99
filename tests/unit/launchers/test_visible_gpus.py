"""GPUs of this machine, as its driver lists them: on a laptop with one, a launch takes it without being told."""

from pathlib import Path

import pytest

from launchers.__main__ import _needs
from launchers.cluster import Cluster
from launchers.shell import visible_gpus
from launchers.tasks import Resources


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that lists two."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: GPU-1)'\necho 'GPU 1: NVIDIA A100 (UUID: GPU-2)'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("visible", "number"), [(None, 2), ("1", 1), ("0,1", 2), ("", 0)])
def test_those_that_are_visible_count(visible: str | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == number


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("cluster", "asked", "gpus", "processes"),
    [
        (Cluster(), None, 2, 2),
        (Cluster(), 1, 1, 1),
        (Cluster(), 0, 0, 1),
        (Cluster(gpus_per_node=0), None, 0, 1),
        (Cluster(executor="slurm"), None, 0, 1),
        (Cluster(executor="slurm", gpus_per_node=8), None, 8, 8),
        (Cluster(executor="slurm", gpus_per_node=0, processes_per_node=8), None, 0, 8),
    ],
)
def test_what_training_runs_on(
    cluster: Cluster, asked: int | None, gpus: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    needs = _needs(cluster, 1, asked, Resources())
    assert (needs.gpus_per_node, needs.processes_per_node) == (gpus, processes)


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == 0


def test_a_driver_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nexec sleep 60\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("launchers.shell.TIMEOUT_SECONDS", 0.1)
    with pytest.raises(ValueError, match="nvidia-smi: no answer within"):
        visible_gpus()
