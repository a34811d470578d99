"""A real Slurm for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm import cluster
from tests.slurm.jobs import Slurm


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Two nodes with accounting, up as long as the tests of this folder run."""
    if reason := cluster.why_not():
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("slurm")
    with cluster.slurm(folder / "up") as running:
        yield running
