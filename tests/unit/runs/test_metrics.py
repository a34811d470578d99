"""The log of a run: what is damaged is named and left out, and nothing is thrown away."""

import json
import os
from pathlib import Path

import pytest

from d2plm_megatron.runs import integrity, metrics

TRAIN = {"perplexity": 18.0, "lr": 1e-3, "gradient_norm": 0.5, "tokens": 80, "proteins": 6}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        metrics.append(path, {"kind": "train", "step": step, "time": "now", **TRAIN})
    metrics.append(path, {"kind": "validation", "step": 3, "time": "now", "elbo_nll": 2.8})
    return path


def steps(path: Path) -> list[int]:
    return [line["step"] for line in metrics.read_metrics(path)]


@pytest.mark.timeout(20)
def test_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match=r"metrics.jsonl: is no ordinary file"):
        list(metrics.read_metrics(tmp_path / "metrics.jsonl"))


def test_lines_are_read_back(log: Path) -> None:
    lines = list(metrics.read_metrics(log))
    assert lines[0] == {"kind": "train", "step": 1, "time": "now", **TRAIN}
    assert steps(log) == [1, 2, 3, 3]
    assert steps(log.with_name("none.jsonl")) == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"[1]",
        b"{}",
        b"\xff\xfe",
        b'{"kind": "train", "step": 2}',
        json.dumps(integrity.sealed({"kind": "train", "step": 2, "time": "now"})).encode(),
        json.dumps(integrity.sealed({"kind": "other", "step": 2, "time": "now"})).encode(),
        json.dumps(integrity.sealed({"kind": [], "step": 2, "time": "now"})).encode(),
    ],
)
def test_damaged_line_is_named_left_out_and_kept_aside(log: Path, damaged: bytes) -> None:
    lines = log.read_bytes().split(b"\n")
    lines[1] = damaged
    log.write_bytes(before := b"\n".join(lines))
    said: list[str] = []
    assert [line["step"] for line in metrics.read_metrics(log, said.append)] == [1, 3, 3]
    assert len(said) == 1 and said[0].startswith(f"{log}, line 2: damaged: ")
    metrics.rewind(log, 3, said.append)
    assert "1 such lines are left out, and the log as it was is kept as metrics.damaged.jsonl" in said[1]
    assert log.with_name("metrics.damaged.jsonl").read_bytes() == before
    assert steps(log) == [1, 3, 3]


def test_every_flipped_bit_is_harmless_or_named(log: Path) -> None:
    whole = log.read_bytes()
    sound = list(metrics.read_metrics(log))
    for place in range(0, 8 * len(whole), 5):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        log.write_bytes(changed)
        said: list[str] = []
        found = list(metrics.read_metrics(log, said.append))
        assert all(line in sound for line in found)
        assert found == sound or said or place // 8 == len(whole) - 1


def test_last_line_that_was_cut_off_is_left_out_in_silence(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-9])
    said: list[str] = []
    assert [line["step"] for line in metrics.read_metrics(log, said.append)] == [1, 2, 3]
    assert not said


def test_rewinding_drops_what_came_later(log: Path) -> None:
    metrics.rewind(log, 2, lambda damage: pytest.fail(damage))
    assert steps(log) == [1, 2]
