"""One pass over some packs: corrupt, encode, score; forward only, or with gradients. The same for every objective."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.noise import Noise
from d2plm_megatron.objectives.objective import Objective

Sums = dict[str, tuple[float, float]]
"""By name, (sum, count): "loss" and the metrics of the objective."""


def run_packs(
    wrapped: Any, objective: Objective, packs: Sequence[TokenBatch], device: torch.device, seed: int, train: bool
) -> Sums:
    """Runs this rank's packs through the encoder, accumulating gradients if `train`.

    Returns, on every rank, the sums over all ranks.
    """

    def forward_step(batches: Iterator[TokenBatch], model: Any) -> tuple[Tensor, Any]:
        batch = next(batches).to(device)
        noisy = objective.corrupt(batch, Noise(seed, batch.epoch))
        return model(noisy), partial(_loss, objective, noisy)

    with torch.set_grad_enabled(train):
        terms = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=iter(packs),
            model=[wrapped],
            num_microbatches=len(packs),
            seq_length=len(packs[0].tokens_T),
            micro_batch_size=1,
            forward_only=not train,
        )
    return _sum_over_ranks(terms, device)


def _loss(objective: Objective, noisy: NoisyBatch, logits: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """In the form that Megatron wants: what to differentiate, what to divide by over all ranks, what to report."""
    terms = objective.loss(logits[0], noisy)
    report = {"loss": (terms.total.detach(), terms.count), **terms.metrics}
    stacked = {name: torch.stack([total.double(), count.double()]) for name, (total, count) in report.items()}
    return terms.total, terms.count.int(), stacked


def _sum_over_ranks(terms: list[dict[str, Tensor]], device: torch.device) -> Sums:
    """Adds up micro-batches and data-parallel ranks; the last pipeline stage, which alone knows, tells the others."""
    sums: list[Sums] = [{}]
    if terms:
        names = sorted(terms[0])
        table = torch.stack([sum(term[name] for term in terms) for name in names])  # type: ignore[misc]
        dist.all_reduce(table, group=parallel_state.get_data_parallel_group())
        sums = [{name: (total, count) for name, (total, count) in zip(names, table.tolist(), strict=True)}]
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        dist.broadcast_object_list(
            sums,
            src=parallel_state.get_pipeline_model_parallel_last_rank(),
            group=parallel_state.get_pipeline_model_parallel_group(),
            device=device,
        )
    return sums[0]


def averages(sums: Sums) -> dict[str, float]:
    """sum / count of each, nan where nothing was counted."""
    return {name: total / count if count else float("nan") for name, (total, count) in sums.items()}
