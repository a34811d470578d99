"""The trackers of a run, each in a thread of its own: none that fails, hangs or is slow touches the training."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from d2plm_megatron.config import Recipe

PATIENCE_S = 30
"""How long a run waits at its end for a tracker to send what is left."""
MOST_WAITING = 1000
"""Calls that may wait for a tracker; one that is so far behind has gone."""


class Service(Protocol):
    """What shows runs; any method may raise anything, or never return."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Takes numbers of a step, by KIND/NAME."""

    def log_samples(self, step: int, samples: Sequence[str]) -> None:
        """Takes proteins that the checkpoint of a step has generated."""

    def finish(self) -> None:
        """Sends what is left."""


class Tracker:
    """Passes values on to a service until that fails once, or answers no more.

    Args:
        name: of the service.
        begin: called in the thread, returns the service.
        say: tells the user why it was given up.
    """

    def __init__(self, name: str, begin: Callable[[], Service], say: Callable[[str], None]) -> None:
        self._name, self._say = name, say
        self._calls: queue.Queue[Callable[[Service], None] | None] = queue.Queue(MOST_WAITING)
        self._is_lost = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(begin,), daemon=True, name=f"tracker {name}")
        self._thread.start()

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Values of a step, under KIND/NAME."""
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._put(lambda service: service.log(step, named))

    def log_samples(self, step: int, samples: Sequence[str]) -> None:
        """Proteins that the checkpoint of a step has generated."""
        self._put(lambda service: service.log_samples(step, samples))

    def finish(self) -> bool:
        """Waits, but not for long, until the service has what was logged; false when it was lost on the way."""
        self._put(None)
        if not self._is_lost.is_set():
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                self._give_up(f"no answer within {PATIENCE_S} s")
        return not self._is_lost.is_set()

    def _put(self, call: Callable[[Service], None] | None) -> None:
        if not self._is_lost.is_set():
            try:
                self._calls.put_nowait(call)
            except queue.Full:
                self._give_up("no answer")

    def _work(self, begin: Callable[[], Service]) -> None:
        try:
            service = begin()
            while (call := self._calls.get()) is not None:
                call(service)
            service.finish()
        except (Exception, SystemExit) as error:  # whatever it is, training must not stop for it
            self._give_up((str(error).strip().splitlines() or [type(error).__name__])[0])

    def _give_up(self, reason: str) -> None:
        if not self._is_lost.is_set():
            self._is_lost.set()
            self._say(f"{self._name} failed ({reason}); the run goes on without it, metrics.jsonl has everything")


def begin_trackers(recipe: Recipe, folder: Path, step: int | None, say: Callable[[str], None]) -> list[Tracker]:
    """The trackers that a recipe asks for.

    Args:
        recipe: of the run.
        folder: of the run, in which they keep their files.
        step: at which the run stands, after which what was logged is replaced; None where nothing is.
        say: tells the user what became of one that was lost.

    Raises ValueError when the package of one is missing.
    """
    trackers = []
    if recipe.track.wandb:
        from d2plm_megatron.tracking import weights_and_biases  # slow, and an extra

        trackers.append(Tracker("Weights & Biases", weights_and_biases.begin(recipe, folder), say))
    if recipe.track.tensorboard:
        from d2plm_megatron.tracking import tensorboard_events

        trackers.append(Tracker("TensorBoard", tensorboard_events.begin(recipe, folder, step), say))
    return trackers
