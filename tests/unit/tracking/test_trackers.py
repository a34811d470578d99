"""What goes wrong with a tracker stays there; the real ones get all there is, and no secret."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from d2plm_megatron.config import Recipe, Track
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.tracking import tracker, weights_and_biases
from d2plm_megatron.tracking.__main__ import samples
from d2plm_megatron.tracking.tracker import Tracker, begin_trackers
from d2plm_megatron.tracking.weights_and_biases import stable_id

KEY = "5ecre7" * 7


class Broken:
    """A service of which one method does something else than it should."""

    def __init__(self, method: str, act: Any) -> None:
        self.logged: list[int] = []
        setattr(self, method, lambda *arguments: act())

    def log(self, step: int, values: dict[str, float]) -> None:
        self.logged.append(step)

    def log_samples(self, step: int, samples: Sequence[str]) -> None: ...

    def finish(self) -> None: ...


def wait_for(condition: Callable[[], bool]) -> None:
    """What Weights & Biases has taken is written by a process of its own, a moment later."""
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "in vain"
        time.sleep(0.05)


def fail() -> None:
    raise ConnectionError("gone\nmore")


def leave() -> None:
    raise SystemExit(1)


@pytest.mark.parametrize(("act", "reason"), [(fail, "gone"), (leave, "1")])
@pytest.mark.parametrize("method", ["log", "log_samples", "finish"])
def test_failure_is_told_once_and_ends_the_tracking(method: str, act: Any, reason: str) -> None:
    said: list[str] = []
    found = Tracker("It", lambda: Broken(method, act), said.append)
    for step in (1, 2):
        found.log("train", step, {"loss": 3.0})
        found.log_samples(step, ["MK"])
    found.finish()
    found.log("train", 3, {"loss": 3.0})
    assert said == [f"It failed ({reason}); the run goes on without it, metrics.jsonl has everything"]


def test_one_that_cannot_begin_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "tensorboard").write_text("in the way")
    [found] = begin_trackers(Recipe(track=Track(tensorboard=True)), tmp_path, 0, said.append)
    found.finish()
    assert len(said) == 1 and said[0].startswith("TensorBoard failed (")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("method", ["log", "finish"])
def test_one_that_hangs_is_left_behind(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "PATIENCE_S", 0.2)
    said, never = [], threading.Event()
    found = Tracker("It", lambda: Broken(method, never.wait), said.append)
    for step in range(3 * tracker.MOST_WAITING if method == "log" else 3):
        found.log("train", step, {"loss": 3.0})
    found.finish()
    never.set()
    assert len(said) == 1 and said[0].startswith("It failed (no answer")


def test_tensorboard_has_every_value_and_a_resumed_run_replaces_what_it_repeats(tmp_path: Path) -> None:
    recipe = Recipe(name="mine", track=Track(tensorboard=True))
    said: list[str] = []
    for begin, values in ((0, [3.0, 2.0, 1.0]), (1, [2.5, 1.5])):
        [found] = begin_trackers(recipe, tmp_path, begin, said.append)
        for step, value in enumerate(values, start=begin + 1):
            found.log("train", step, {"loss": value})
        found.log_samples(3, ["MKV"])
        found.finish()
    assert not said
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("train/loss")] == [(1, 3.0), (2, 2.5), (3, 1.5)]
    assert b"name: mine" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]
    assert b"MKV" in events.Tensors("samples/text_summary")[0].tensor_proto.string_val[0]


def test_samples_of_a_run_are_shown_where_it_was_tracked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Recipe(name="mine", track=Track(tensorboard=True))
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    (tmp_path / "samples.fasta").write_text(">generated_000001 checkpoint_step=7 weights=ema\nMKVW\n>b\nACD\n")
    [found] = begin_trackers(recipe, tmp_path, 0, lambda text: None)
    found.log("train", 9, {"loss": 1.0})
    found.finish()
    samples(tmp_path)
    assert "2 proteins of" in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    [shown] = events.Tensors("samples/text_summary")
    assert shown.step == 7 and b"MKVW\n    ACD" in shown.tensor_proto.string_val[0]
    assert len(events.Scalars("train/loss")) == 1
    (tmp_path / "recipe.yaml").write_text(to_yaml(Recipe()))
    with pytest.raises(ValueError, match=r"was trained without track.wandb=true or track.tensorboard=true"):
        samples(tmp_path)


def test_id_is_that_of_the_folder_and_a_damaged_one_is_drawn_anew(tmp_path: Path) -> None:
    first = stable_id(tmp_path)
    assert stable_id(tmp_path) == first
    (tmp_path / "wandb.json").write_text("{}")
    assert stable_id(tmp_path) != first


def test_what_is_asked_of_weights_and_biases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: True)
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options) or Broken("log", fail))
    track = Track(wandb=True, project="p", entity="e", group="g", tags="a b", offline=False)
    for _ in range(2):
        weights_and_biases.begin(replace(Recipe(name="mine"), track=track), tmp_path)()
        keys = ("project", "entity", "group", "tags", "name", "mode", "resume", "id")
        assert [asked[key] for key in keys] == [
            "p",
            "e",
            "g",
            ["a", "b"],
            "mine",
            "online",
            "allow",
            stable_id(tmp_path),
        ]
    assert asked["config"]["optimizer"]["lr"] == Recipe().optimizer.lr
    assert asked["settings"].init_timeout <= 60 and asked["settings"].console == "off"


def test_key_is_in_no_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    def refuse(**options: Any) -> None:
        raise ValueError(f"401: {KEY} is not known")

    monkeypatch.setattr(wandb, "login", lambda prompt, verify: True)
    monkeypatch.setattr(wandb, "init", refuse)
    said: list[str] = []
    [found] = begin_trackers(Recipe(track=Track(wandb=True, offline=False)), tmp_path, 0, said.append)
    found.finish()
    assert "401: ... is not known" in said[0] and KEY not in said[0]


def test_online_without_a_key_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: prompt)  # as where there is no key
    said: list[str] = []
    [found] = begin_trackers(Recipe(track=Track(wandb=True, offline=False)), tmp_path, 0, said.append)
    found.finish()
    assert said[0].startswith("Weights & Biases failed (no API key: set WANDB_API_KEY, or run `wandb login` once)")


def test_real_one_offline_writes_the_same_run_twice_with_recipe_values_and_samples_and_no_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    recipe = Recipe(name="mine", track=Track(wandb=True, group="g1", tags="first second"))
    said: list[str] = []
    for step in (10, 20):
        [found] = begin_trackers(recipe, tmp_path, step, said.append)
        found.log("train", step, {"loss": 3.25})
        found.log_samples(step, ["MKVWYACD"])
        found.finish()
    assert not said
    written = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert [path.name for path in written] == [f"run-{stable_id(tmp_path)}.wandb"] * 2
    for path in written:
        wait_for(lambda path=path: b"samples" in path.read_bytes())
        for known in (b"train/loss", b"3.25", b"max_steps", b"first", b"g1"):
            assert known in path.read_bytes()
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/table/samples_*.json"))) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
