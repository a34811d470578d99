"""Weights & Biases: one run of theirs for each run folder, however often it is stopped and continued."""

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs import integrity
from d2plm_megatron.tracking.tracker import PATIENCE_S

ID_FILE = "wandb.json"
"""In the run folder: by which id Weights & Biases knows the run."""

_KEY = "WANDB_API_KEY"


def begin(recipe: Recipe, folder: Path) -> Callable[[], "Run"]:
    """What begins, or continues, the run of a folder. Raises ValueError when the package is missing."""
    try:
        import wandb
    except ModuleNotFoundError:
        raise ValueError("track.wandb=true: Weights & Biases is missing: pip install 'd2plm-megatron[track]'") from None
    return lambda: Run(wandb, recipe, folder)


class Run:
    """A run of Weights & Biases. The recipe is its config; key and host come from the environment alone.

    What is printed is not sent, nor is code, nor where the repository lies.
    """

    def __init__(self, wandb: Any, recipe: Recipe, folder: Path) -> None:
        track = recipe.track
        if not (track.offline or wandb.login(prompt=False, verify=False)):  # else it would ask for a key, and wait
            raise ConnectionError(f"no API key: set {_KEY}, or run `wandb login` once")
        self._wandb = wandb
        options = {"init_timeout": PATIENCE_S, "silent": True, "console": "off", "disable_git": True}
        try:
            self._run = wandb.init(
                project=track.project,
                entity=track.entity,
                group=track.group,
                tags=track.tags.split() if track.tags else None,
                name=recipe.name,
                id=stable_id(folder),
                resume="allow",
                config=yaml.safe_load(to_yaml(recipe)),
                dir=folder,
                mode="offline" if track.offline else "online",
                settings=wandb.Settings(**options, save_code=False),
            )
        except Exception as error:
            raise ConnectionError(without_key(str(error))) from None

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of a step; those of a step that it has already are dropped by the service."""
        self._run.log(values, step=step)

    def log_samples(self, step: int, samples: Sequence[str]) -> None:
        """A table of proteins, after all that was logged."""
        rows = [[step, sample, len(sample)] for sample in samples]
        self._run.log({"samples": self._wandb.Table(columns=["checkpoint step", "protein", "residues"], data=rows)})

    def finish(self) -> None:
        """Sends what is left."""
        self._run.finish()


def stable_id(folder: Path) -> str:
    """The id of a run folder, drawn when it is first asked for; a damaged one is drawn anew."""
    path = folder / ID_FILE
    try:
        return str(integrity.read_sealed(path, {"id": str})["id"])
    except integrity.Damaged:
        drawn = secrets.token_hex(8)
        integrity.write_sealed(path, {"id": drawn})
        return drawn


def without_key(text: str) -> str:
    """A message without the key, should it stand there."""
    key = os.environ.get(_KEY)
    return text.replace(key, "...") if key else text
