"""Baselines that take turns, each in a process of its own, so that the machine's moods and caches favour none."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Protocol, Self

import torch

from d2plm_megatron.config.sizing import GIB

Step = Callable[[int], object]
"""Does the work of batch i."""


class Job(Protocol):
    """What the baselines are given; it travels to their processes."""

    @property
    def num_batches(self) -> int:
        """Of a round."""

    @property
    def device(self) -> str:
        """Either cpu or cuda."""


Baseline = Callable[[Any], AbstractContextManager[Step]]
"""Makes ready for a job; a function of a module, since it is called in another process."""


@dataclass
class Timing:
    """What was measured of one baseline.

    Attributes:
        seconds: of each round, which is one step on every batch.
        peak_bytes: at most allocated on the GPU; on a CPU, by how much the process grew.
    """

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def times_faster_than(self, other: "Timing") -> float:
        """Median over the rounds, in each of which the machine was much the same for all."""
        return median(theirs / own for theirs, own in zip(other.seconds, self.seconds, strict=True))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a table shows of a baseline.

    Attributes:
        baseline: its name.
        tokens_per_second: without padding; the median over the rounds.
        slowest_round: likewise, of that round.
        fastest_round: likewise.
        ratio: to another baseline, as the table's heading says.
        padding: share of the batches.
        peak_gib: memory.
    """

    baseline: str
    tokens_per_second: float
    slowest_round: float
    fastest_round: float
    ratio: float
    padding: float
    peak_gib: float

    @classmethod
    def of(cls, baseline: str, timing: Timing, num_tokens: int, **others: float) -> Self:
        """From the timing of rounds of that many tokens; `others` are the fields that it does not tell."""
        return cls(
            baseline=baseline,
            tokens_per_second=num_tokens / median(timing.seconds),
            slowest_round=num_tokens / max(timing.seconds),
            fastest_round=num_tokens / min(timing.seconds),
            peak_gib=timing.peak_bytes / GIB,
            **others,
        )

    def rates(self) -> list[str]:
        """The three rates, as a table shows them."""
        return [f"{rate:,.0f}" for rate in (self.tokens_per_second, self.slowest_round, self.fastest_round)]


def alternate(
    job: Job, baselines: Mapping[str, Baseline], num_rounds: int, advance: Callable[[], object]
) -> dict[str, Timing]:
    """Warms every baseline up with one round, then lets them take rounds in turn, a different one first each time.

    `advance` is called after every round and warm-up. Raises RuntimeError when a baseline fails.
    """
    names = list(baselines)
    timings = {name: Timing() for name in names}
    with ExitStack() as stack:
        processes: dict[str, Connection] = {}
        for name in names:
            processes[name] = stack.enter_context(_started(baselines[name], job))
            _receive(processes[name], name)
            advance()
        for number in range(num_rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                processes[name].send(True)
                timings[name].seconds.append(_receive(processes[name], name))
                advance()
        for name, connection in processes.items():
            connection.send(False)
            timings[name].peak_bytes = _receive(connection, name)
    return timings


@contextmanager
def _started(baseline: Baseline, job: Job) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, baseline, job), daemon=True)
    process.start()
    there.close()  # so that the end of the process is the end of the connection
    try:
        yield here
    finally:
        here.close()
        process.join()


def _receive(connection: Connection, name: str) -> Any:
    try:
        return connection.recv()
    except EOFError:
        raise RuntimeError(f"the baseline '{name}' failed; its error is above") from None


def _serve(connection: Connection, baseline: Baseline, job: Job) -> None:
    """In the process of a baseline: a message when warm, then for each order the seconds, at last the peak."""
    before = _largest_resident()
    with baseline(job) as step:
        _round(step, job)
        connection.send(None)
        while connection.recv():
            connection.send(_round(step, job))
    if job.device == "cuda":
        connection.send(torch.cuda.max_memory_allocated())
    else:
        connection.send(_largest_resident() - before)


def _largest_resident() -> int:
    """Bytes of memory that this process has held at most."""
    status = Path("/proc/self/status")  # where there is one: on Linux ru_maxrss begins at what the parent held
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _round(step: Step, job: Job) -> float:
    """Seconds for a step on every batch."""
    started = time.perf_counter()
    for number in range(job.num_batches):
        step(number)
    if job.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
