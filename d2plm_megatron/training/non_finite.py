"""Which proteins break a run: those whose logits are not finite."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.training.step import run_packs

NUM_NAMED = 10


@dataclass
class _WatchedObjective:
    """An objective that looks at the logits on their way to the loss."""

    objective: Objective
    samples: set[int] = field(default_factory=set)

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        return self.objective.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        broken_T = ~logits_TV.isfinite().all(-1) & noisy.clean.scored_T
        self.samples |= set(noisy.clean.sample_ids_S[noisy.clean.sequence_T[broken_T]].tolist())
        return self.objective.loss(logits_TV, noisy)


def broken_proteins(
    wrapped: Any, objective: Objective, packs: Sequence[TokenBatch], device: torch.device, seed: int
) -> list[int]:
    """Sample ids of the proteins with logits that are not finite. All processes take part."""
    watched = _WatchedObjective(objective)
    run_packs(wrapped, watched, packs, device, seed, train=False)
    found: list[set[int]] = [set()] * dist.get_world_size()
    dist.all_gather_object(found, watched.samples)
    return sorted(set().union(*found))


def describe(broken: list[str], num_proteins: int) -> str:
    """For the user: which proteins these are, by name, among so many of the step."""
    if not broken:
        return "the logits of all proteins are finite, so it is the loss or the gradient that overflows"
    if len(broken) == num_proteins:
        return f"the logits of all {num_proteins} proteins are not finite, so it is the weights that are broken"
    named = ", ".join(broken[:NUM_NAMED]) + (", ..." if len(broken) > NUM_NAMED else "")
    return f"the logits of {len(broken)} of {num_proteins} proteins are not finite: {named}"
