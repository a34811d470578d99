"""Tiny runs in every layout, with one launch per number of processes for all tests of this folder.

Starting Python takes longer than most runs; so all that the tests need is listed in wanted.py, and shared.
"""

from pathlib import Path

import pytest

from benchmarks.random_proteins import short_lengths, write_proteins
from tests.distributed.wanted import jobs
from verification.tiny_runs import Run, train


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All of `wanted.jobs`, trained, by name."""
    folder: Path = tmp_path_factory.mktemp("runs")
    wanted = jobs(folder)
    finished = train(list(wanted.values()), write_proteins(folder / "proteins", short_lengths(200)))
    return dict(zip(wanted, finished, strict=True))
