"""What goes wrong with Weights & Biases stays there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb

from d2plm_megatron.config import Recipe, Track
from d2plm_megatron.training.tracking import Tracker

RECIPE = Recipe(track=Track(wandb=True))


class Refusing:
    """A run of Weights & Biases whose server has gone."""

    def log(self, *arguments: Any, **options: Any) -> None:
        raise ConnectionError("gone\nmore")


def test_failure_is_told_once_and_ends_the_tracking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wandb, "init", lambda **options: Refusing())
    said: list[str] = []
    tracker = Tracker(RECIPE, tmp_path, said.append)
    for step in (1, 2):
        tracker.log("train", step, {"loss": 3.0})
    tracker.finish()
    [line] = said
    assert line.startswith("Weights & Biases failed (gone); the run goes on without it")


def test_what_is_asked_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options))
    Tracker(replace(RECIPE, name="mine", track=Track(wandb=True, project="p", offline=False)), tmp_path, print)
    assert (asked["project"], asked["name"], asked["mode"]) == ("p", "mine", "online")
    assert asked["settings"].init_timeout <= 60
