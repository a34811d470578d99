"""Work spread over processes, with its results in the order of the work and little of it in memory at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_WORKERS = 1_024
_AHEAD = 2


def ordered_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Yields function(task) of each task, in order; `workers` processes, or this one alone if it is 1.

    At most two tasks more than there are workers are begun and not yet yielded. Raises what the function raises, and
    ChildProcessError if a process was ended from outside.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                running.append(pool.submit(function, task))
                if len(running) == workers + _AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "a worker process was ended, by the system for want of memory perhaps; the same command goes on where "
                "it stopped, with fewer --workers if that was the reason"
            ) from None
        finally:
            for future in running:
                future.cancel()
