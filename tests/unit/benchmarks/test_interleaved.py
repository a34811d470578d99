"""Baselines that take turns: what is measured of them."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import interleaved as alternation


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd14", 1024)])
def test_memory_is_in_bytes_without_proc(monkeypatch: pytest.MonkeyPatch, platform: str, unit: int) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=7))
    assert alternation._largest_resident() == 7 * unit
