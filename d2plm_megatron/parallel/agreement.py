"""Processes that learn of one another: of errors, so that none waits for what will never come, and of decisions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist

Value = TypeVar("Value")


def of_the_first(decide: Callable[[], Value]) -> Value:
    """What the first process decides, in all of them."""
    with failing_together():
        told = [decide() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(told)
    [decided] = told
    return decided  # type: ignore[return-value]


@contextmanager
def failing_together(group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """An OSError of one process inside the block is raised by all of them at its end, which all reach together.

    Args:
        group: to talk in; None for all processes.
    """
    error = None
    try:
        yield
    except OSError as raised:
        error = raised
    told: list[tuple | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(told, error and (error.errno, error.strerror, error.filename), group=group)
    if error:
        raise error
    if others := [other for other in told if other is not None]:
        raise OSError(*others[0])
