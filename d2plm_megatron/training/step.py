"""One pass over some packs: corrupt, encode, score; forward only, or with gradients. The same for every objective."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.parallel.megatron import get_forward_backward_func, parallel_state
from d2plm_megatron.rng import KeyedRng

Sums = dict[str, tuple[float, float]]
"""By name, (sum, count): "loss" and the metrics of the objective."""


@dataclass(frozen=True)
class LocalSums:
    """The sums of this rank's packs, on its device, where they can be added up without anyone waiting for them.

    Attributes:
        names: "loss", then the metrics of the objective; none on pipeline stages before the last, which alone scores.
        table: sum and count of each, [names, 2], float64.
    """

    names: tuple[str, ...]
    table: Tensor

    @classmethod
    def of(cls, terms: LossTerms) -> "LocalSums":
        """Of one pack."""
        every = {"loss": (terms.total.detach(), terms.count), **terms.metrics}
        numbers = [number.double() for total_and_count in every.values() for number in total_and_count]
        return cls(tuple(every), torch.stack(numbers).view(-1, 2))

    @property
    def loss(self) -> Tensor:
        """Sum and count of the loss, [2]; zeros on pipeline stages before the last."""
        return self.table[:1].sum(0)

    def __add__(self, other: "LocalSums") -> "LocalSums":
        return LocalSums(self.names, self.table + other.table)

    def over_ranks(self) -> Sums:
        """Added up over all ranks, for all of them. They all take part, and wait for their devices."""
        sums: list[Sums] = [{}]
        if self.names:
            table = self.table.clone()
            dist.all_reduce(table, group=parallel_state.get_data_parallel_group())
            sums = [{name: (total, count) for name, (total, count) in zip(self.names, table.tolist(), strict=True)}]
        if parallel_state.get_pipeline_model_parallel_world_size() > 1:
            dist.broadcast_object_list(
                sums,
                src=parallel_state.get_pipeline_model_parallel_last_rank(),
                group=parallel_state.get_pipeline_model_parallel_group(),
                device=self.table.device,
            )
        return sums[0]


def run_packs(
    wrapped: Any, objective: Objective, packs: Sequence[TokenBatch], device: torch.device, seed: int, train: bool
) -> LocalSums:
    """Runs this rank's packs through the encoder, accumulating gradients if `train`. All ranks take part."""

    def forward_step(batches: Iterator[TokenBatch], model: Any) -> tuple[Tensor, Any]:
        batch = next(batches).to(device)
        noisy = objective.corrupt(batch, KeyedRng(seed, batch.epoch))
        return model(noisy), partial(_loss, objective, noisy)

    with torch.set_grad_enabled(train):
        scored = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=iter(packs),
            model=[wrapped],
            num_microbatches=len(packs),
            seq_length=len(packs[0].tokens_T),
            micro_batch_size=1,
            forward_only=not train,
        )
    return reduce(add, scored) if scored else LocalSums((), torch.zeros(0, 2, dtype=torch.float64, device=device))


def _loss(objective: Objective, noisy: NoisyBatch, logits: Tensor) -> tuple[Tensor, Tensor, LocalSums]:
    """In the form that Megatron wants: what to differentiate, what to divide by over all ranks, what to report."""
    terms = objective.loss(logits[0], noisy)
    return terms.total, terms.count.int(), LocalSums.of(terms)


def averages(sums: Sums) -> dict[str, float]:
    """sum / count of each, nan where nothing was counted."""
    return {name: total / count if count else float("nan") for name, (total, count) in sums.items()}
