"""What a rehearsal has found, whole, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from d2plm_megatron.config.budget import compute_optimal_tokens
from d2plm_megatron.config.fitting import MARGIN, check_fits, fits
from d2plm_megatron.config.overrides import keys_of
from d2plm_megatron.config.sizing import num_parameters
from d2plm_megatron.files import write_json
from d2plm_megatron.rehearsal.estimate import Estimate, StepTime, estimate, sent, step_time
from d2plm_megatron.rehearsal.job import Job
from d2plm_megatron.rehearsal.rank import RehearsedRank, Traffic
from d2plm_megatron.runs.versions import versions

SCHEMA = 1
"""Of the JSON, which docs/rehearsal.md explains; a key that changes its meaning, or goes, raises it."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Some ranks of a run, rehearsed.

    Attributes:
        job: that was rehearsed.
        ranks: of it.
        comparisons: of collectives, between two of them, all of which agreed.
    """

    job: Job
    ranks: tuple[RehearsedRank, ...]
    comparisons: int

    @cached_property
    def estimate(self) -> Estimate:
        """How fast the run would be."""
        return estimate(self.job, self.ranks)

    @property
    def fullest(self) -> RehearsedRank:
        """The rank that needs most memory."""
        return max(self.ranks, key=peak)

    @property
    def fits(self) -> bool:
        """Whether every rank leaves the margin of its GPU."""
        return fits(peak(self.fullest), self.job.gpu_memory)

    def check_fits(self) -> None:
        """Raises ValueError, saying what to change, unless it does."""
        check_fits(self.job.recipe, peak(self.fullest), parts(self.fullest), self.job.gpu_memory)


def peak(rank: RehearsedRank) -> int:
    """The most bytes that live at a time."""
    return max(rank.peak_passes, rank.peak_update)


def parts(rank: RehearsedRank) -> dict[str, int]:
    """Bytes at the peak of the passes, by what they are for; they add up to it."""
    return {**rank.kept, "gathered": rank.gathered, "activations": rank.activations}


def as_json(found: Rehearsal) -> dict[str, Any]:
    """The rehearsal as JSON knows it; sizes in bytes, times in seconds."""
    recipe = found.job.recipe
    return {
        **_head(found.job),
        "fits": found.fits,
        "estimate": _estimate(found.estimate),
        "budget": {
            "run_tokens": found.job.num_tokens,
            "compute_optimal_tokens": round(
                compute_optimal_tokens(num_parameters(recipe.model), recipe.objective.name)
            ),
        },
        "agreement": {"comparisons": found.comparisons},
        "ranks": [_rank(found, rank) for rank in found.ranks],
    }


def layouts_as_json(found: Sequence[Rehearsal]) -> dict[str, Any]:
    """Several layouts of one recipe, in the order given."""
    return {
        **_head(found[0].job),
        "layouts": [
            {
                "overrides": layout_keys(layout),
                "fits": layout.fits,
                "peak_bytes": peak(layout.fullest),
                "estimate": _estimate(layout.estimate),
                "ranks": [rank.rank for rank in layout.ranks],
            }
            for layout in found
        ],
    }


def layout_keys(found: Rehearsal) -> list[str]:
    """What to add to a command to get this layout."""
    parallel = found.job.recipe.parallel
    return [
        f"parallel.tensor={parallel.tensor}",
        f"parallel.sequence={str(parallel.sequence).lower()}",
        f"parallel.pipeline={parallel.pipeline}",
        f"parallel.sharding={parallel.sharding}",
    ]


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the JSON."""
    write_json(path, result)


def _head(job: Job) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions("d2plm-megatron", "torch", "megatron-core"),
        "recipe": {key: value for key, (value, _) in keys_of(job.recipe).items()},
        "world_size": job.world_size,
        "protein_tokens": job.length,
        "gpu": asdict(job.gpu),
        "gpu_memory_gib": job.gpu_memory,
        "margin": MARGIN,
    }


def _rank(found: Rehearsal, rank: RehearsedRank) -> dict[str, Any]:
    return {
        "rank": rank.rank,
        "data_rank": rank.data_rank,
        "tensor_rank": rank.tensor_rank,
        "pipeline_rank": rank.pipeline_rank,
        "memory": parts(rank),
        "peak_passes": rank.peak_passes,
        "peak_update": rank.peak_update,
        "flops": rank.flops,
        "operations": rank.num_operations,
        "step": _seconds(step_time(found.job, rank)),
        "traffic": [_traffic(one) for one in rank.traffic],
        "cpu_seconds": rank.cpu_seconds,
    }


def _traffic(one: Traffic) -> dict[str, Any]:
    return {
        "phase": one.phase,
        "collective": one.collective,
        "group": one.group,
        "num_ranks": one.num_ranks,
        "calls": one.calls,
        "bytes": one.num_bytes,
        "sent": round(sent(one)),
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    return {
        "slowest_rank": found.slowest,
        "step": _seconds(found.step),
        "tokens_per_second": found.tokens_per_second,
        "mfu": found.mfu,
        "binds": found.step.binds,
    }


def _seconds(step: StepTime) -> dict[str, float]:
    return {**vars(step), "total": step.total}
