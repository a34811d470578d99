"""How many cores there are to work with when nobody says."""

import os

import pytest

from d2plm_megatron.cores import available_cores


def test_cores_are_those_allowed_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_cores() == os.cpu_count()
