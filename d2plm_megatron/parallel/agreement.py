"""Processes that learn of one another's errors, so that none waits for what will never come."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist


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
