"""Ends a run in good order when it is asked to: by Slurm, by the system, or by Ctrl-C."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what ends a process; what Slurm sends before it takes the node away, when asked to."""

SAVED_AND_STOPPED = 75
"""Exit code of a run that can go on where it stopped: EX_TEMPFAIL of sysexits.h. Slurm takes 0 for the end of a job."""


class PreemptionHandler:
    """Notes that one of the signals has come; the training loop asks for it between steps.

    Use as a context manager, in the main thread; without the block it never notes any. The handlers are installed at
    once, so that what is imported and built inside, for seconds, is not killed by a signal.

    received    the last signal that came to this process; 0 before
    agreed      the signal that any process had received when all were last asked; None before
    """

    def __init__(self) -> None:
        self.received = 0
        self.agreed: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def flags(self) -> list[bool]:
        """Of each of the signals, whether this process has received it: what the others are to know."""
        return [number == self.received for number in SIGNALS]

    def agree(self, raised: Sequence[bool]) -> None:
        """Takes the answer of all processes, the same for each: whether any has received the signal."""
        self.agreed = next((number for number, flag in zip(SIGNALS, raised, strict=True) if flag), None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the second ends the process even inside a kernel
            if os.environ.get("RANK", "0") == "0":
                print("\nsaving, then stopping; Ctrl-C once more stops at once", file=sys.stderr, flush=True)


def end_interrupted() -> NoReturn:
    """Ends the process as one that was interrupted and has saved, whatever other processes do to it meanwhile.

    Slurm's srun may end the tasks of a step once the first of them has left with a code other than 0; the code of one
    that it ended would hide that the run can go on.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(SAVED_AND_STOPPED)
