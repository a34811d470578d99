"""A step is profiled on a CPU too, but for what only a GPU has."""

import json
import warnings
from pathlib import Path

import pytest
import torch

from benchmarks.profile_step import NUM_KERNELS, host_waits, main

TINY = ["model=tiny", "data.tokens_per_pack=1024", "train.global_batch_tokens=2048", "train.precision=fp32"]


def test_profile_of_a_tiny_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*TINY, "objective=mlm"], steps=2, output=tmp_path / "step.json")
    found = json.loads((tmp_path / "step.json").read_text())
    assert found["tokens_per_second"] * found["seconds_per_step"] == pytest.approx(
        2048, rel=0.1
    )  # padding is not counted
    assert 0 < found["mfu"] < 1.5  # of the best of some matrix products, on a machine that may be busy
    assert (found["peak_gib"], found["host_waits"]) == (0, {})
    kernels = {kernel["name"]: kernel for kernel in found["kernels"]}
    assert len(found["kernels"]) == NUM_KERNELS
    assert kernels["aten::mm"]["calls"] > 50
    assert kernels["aten::mm"]["milliseconds"] > 0
    printed = capsys.readouterr().out
    assert "objective=mlm: " in printed
    assert "aten::mm" in printed


def test_refuses_what_a_recipe_refuses() -> None:
    with pytest.raises(ValueError, match="did you mean objective"):
        main(["objectiv=mlm"])


def test_waits_are_counted_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the warnings that torch gives when it is asked to."""
    modes = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with host_waits() as waits:
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert modes == ["warn", "default"]
    assert list(waits.values()) == [3]
    assert next(iter(waits)).startswith(__file__)
