"""Ends a run in good order when the system asks for it: SIGTERM, or SIGUSR1, which Slurm sends before pre-emption."""

import signal
from collections.abc import Sequence
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """Notes that one of the signals has come. Use as a context manager, in the main thread.

    Attributes:
        agreed: the signal that any process had received when all were last asked.
    """

    def __init__(self) -> None:
        self.agreed: signal.Signals | None = None
        self._signal = 0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def flags(self) -> list[bool]:
        """Of each of the signals, whether this process has received it: what the others are to know."""
        return [number == self._signal for number in SIGNALS]

    def agree(self, raised: Sequence[bool]) -> None:
        """Takes the answer of all processes, the same for each: whether any has received the signal."""
        self.agreed = next((number for number, flag in zip(SIGNALS, raised, strict=True) if flag), None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
