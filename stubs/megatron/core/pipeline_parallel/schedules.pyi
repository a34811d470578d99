from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

class _Schedule(Protocol):
    def __call__(
        self,
        *,
        forward_step_func: Callable,
        data_iterator: Iterator | list[Iterator],
        model: torch.nn.Module | list[torch.nn.Module],
        num_microbatches: int,
        seq_length: int,
        micro_batch_size: int,
        forward_only: bool = ...,
        collect_non_loss_data: bool = ...,
    ) -> list[Any]: ...

forward_backward_no_pipelining: _Schedule
forward_backward_pipelining_without_interleaving: _Schedule
