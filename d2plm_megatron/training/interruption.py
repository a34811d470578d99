"""Ends a run in good order when the system asks for it: SIGTERM, or SIGUSR1, which Slurm sends before pre-emption."""

import signal
from types import FrameType
from typing import Any, Self

import torch
import torch.distributed as dist

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """Notes that one of the signals has come. Use as a context manager, in the main thread.

    Args:
        device: of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._signal = 0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def agreed(self) -> signal.Signals | None:
        """The signal that any process has received; all take part, and all get the same answer."""
        highest = torch.tensor(self._signal, device=self.device)
        dist.all_reduce(highest, op=dist.ReduceOp.MAX)
        return signal.Signals(int(highest)) if highest else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
