"""Weights & Biases, when it is installed and asked for. Nothing that goes wrong with it touches the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2plm_megatron.config import Recipe

PATIENCE_S = 30
"""How long the start may take before the run goes on without."""


class Tracker:
    """Passes values on to Weights & Biases, until that fails once.

    Args:
        recipe: of the run.
        folder: where its files go.
        say: tells the user why it was given up.

    Raises ValueError when the package is missing.
    """

    def __init__(self, recipe: Recipe, folder: Path, say: Callable[[str], None]) -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise ValueError(
                "track.wandb=true: Weights & Biases is missing: pip install 'd2plm-megatron[track]'"
            ) from None
        self._say = say
        self._run: Any = None
        self._run = self._attempt(
            lambda: wandb.init(
                project=recipe.track.project,
                name=recipe.name,
                dir=folder,
                mode="offline" if recipe.track.offline else "online",
                settings=wandb.Settings(init_timeout=PATIENCE_S, silent=True),
            )
        )

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Values of a step, under KIND/NAME."""
        if self._run is not None:
            named = {f"{kind}/{name}": value for name, value in values.items()}
            self._attempt(lambda: self._run.log(named, step=step))

    def finish(self) -> None:
        """Sends what is left."""
        if self._run is not None:
            self._attempt(lambda: self._run.finish())

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # whatever it is, training must not stop for it
            self._run = None
            reason = str(error).strip().splitlines() or [type(error).__name__]
            self._say(
                f"Weights & Biases failed ({reason[0]}); the run goes on without it, metrics.jsonl has everything"
            )
            return None
