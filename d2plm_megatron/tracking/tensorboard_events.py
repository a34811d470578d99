"""TensorBoard: event files in RUN/tensorboard, for `tensorboard --logdir runs`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import to_yaml

FOLDER = "tensorboard"


def begin(recipe: Recipe, folder: Path, step: int | None) -> Callable[[], "Events"]:
    """What begins, or continues, the event files of a run. Raises ValueError when the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise ValueError(
            "track.tensorboard=true: TensorBoard is missing: pip install 'd2plm-megatron[track]'"
        ) from None
    return lambda: Events(SummaryWriter, recipe, folder / FOLDER, step)


class Events:
    """The event files of a run. What an earlier start has written of steps to come is not shown."""

    def __init__(self, writer: type[Any], recipe: Recipe, folder: Path, step: int | None) -> None:
        repeated = None if step is None or not folder.exists() else step + 1
        self._writer = writer(str(folder), purge_step=repeated, flush_secs=30)
        if step is not None:
            self._writer.add_text("recipe", _as_code(to_yaml(recipe)), step)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_samples(self, step: int, samples: Sequence[str]) -> None:
        """Proteins as text."""
        self._writer.add_text("samples", _as_code("\n".join(samples)), step)

    def finish(self) -> None:
        """Writes what is left."""
        self._writer.close()


def _as_code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
