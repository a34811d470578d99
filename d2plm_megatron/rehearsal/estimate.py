"""How long a step of a rehearsed rank would take on a GPU: an estimate by a plain model, whose every term is below.

No GPU was asked. Three shares say how much of what a data sheet promises is reached; they were chosen once, so that
ESM-2's published rates on A100, H100 and B300 come out on both sides (docs/rehearsal.md prints how far), and stand for
all GPUs, models and layouts alike.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from d2plm_megatron.config.hardware import Gpu
from d2plm_megatron.config.sizing import training_flops
from d2plm_megatron.rehearsal.job import Job
from d2plm_megatron.rehearsal.rank import RehearsedRank, Traffic

MATRIX_SHARE, MEMORY_SHARE, LINK_SHARE = 0.7, 0.8, 0.8
"""Of the data sheet's matrix operations, memory bandwidth and link bandwidth, what kernels and NCCL reach."""

CALL_S = 2e-5
"""What a collective takes before its first byte."""

TOUCHES = 6
"""How often each byte kept for the backward pass is read or written by kernels that wait for memory: written and read
in the forward pass, read in the backward pass, its gradient written and read; and once more for what is not kept."""

BACKWARD_SHARE = 2 / 3
"""Of a pack's operations."""

SENT_OF_WHOLE = {"allgather": 1.0, "reducescatter": 1.0, "allreduce": 2.0, "send": 1.0, "recv": 0.0}
"""Bytes that a rank sends, in sizes of the whole tensor; in a ring of n ranks, times (n - 1) / n. What it receives at
the same time takes no longer."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Seconds of a step on one rank, by what it waits for; they add up.

    Attributes:
        compute: matrix products and attention.
        memory: kernels of the passes, and of the update, that wait for memory.
        tensor: collectives between tensor-parallel ranks, which nothing hides.
        data: those of data parallelism that the backward pass does not hide.
        pipeline: the bubble, and what stages send one another.
        other: collectives of groups that are none of these.
    """

    compute: float
    memory: float
    tensor: float
    data: float
    pipeline: float
    other: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(vars(self).values())

    @property
    def binds(self) -> str:
        """What takes longest: compute (with memory), tensor, data or pipeline."""
        waits = {"compute": self.compute + self.memory, **{name: vars(self)[name] for name in TRAFFIC}}
        return max(waits, key=waits.__getitem__)


TRAFFIC = ("tensor", "data", "pipeline")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of a whole run.

    Attributes:
        slowest: rank that all others wait for.
        step: its seconds.
        tokens_per_second: of the run, padding and all.
        mfu: what the model needs of operations over what all GPUs could do by their data sheet.
    """

    slowest: int
    step: StepTime
    tokens_per_second: float
    mfu: float


def estimate(job: Job, ranks: Sequence[RehearsedRank]) -> Estimate:
    """How fast the run would be, if all ranks were like those that were rehearsed, of which the slowest counts."""
    times = {rank.rank: step_time(job, rank) for rank in ranks}
    slowest = max(times, key=lambda rank: times[rank].total)
    tokens, seconds = job.recipe.train.global_batch_tokens, times[slowest].total
    flops = training_flops(job.recipe.model, tokens, tokens * job.length)
    return Estimate(
        slowest=slowest,
        step=times[slowest],
        tokens_per_second=tokens / seconds,
        mfu=flops / seconds / (_peak(job) * job.world_size),
    )


def step_time(job: Job, rank: RehearsedRank) -> StepTime:
    """Where the seconds of a step would go on one rank."""
    parallel, gpu, packs = job.recipe.parallel, job.gpu, job.num_packs
    compute = rank.flops / (_peak(job) * MATRIX_SHARE)
    passes, update = (size / (gpu.memory_gb_per_s * 1e9 * MEMORY_SHARE) for size in _touched(job, rank))
    tensor = _seconds(_of(rank, "tensor"), gpu)
    bubble = (parallel.pipeline - 1) / packs * (compute + passes + tensor)
    return StepTime(
        compute=compute,
        memory=passes + update,
        tensor=tensor,
        data=_not_hidden(job, rank, compute + passes),
        pipeline=bubble + _seconds(_of(rank, "pipeline"), gpu),
        other=_seconds((one for one in rank.traffic if one.group not in TRAFFIC), gpu),
    )


def seconds_of(traffic: Traffic, gpu: Gpu) -> float:
    """How long the calls of one kind take one after the other, in a ring over the slowest link between the ranks."""
    return traffic.calls * CALL_S + sent(traffic) / (_bandwidth(traffic.ranks, gpu) * LINK_SHARE)


def sent(traffic: Traffic) -> float:
    """Bytes that the rank itself puts on the wire, in all calls."""
    kind = traffic.collective.replace("_", "")
    known = [share for name, share in SENT_OF_WHOLE.items() if kind.startswith(name)]
    ring = 1.0 if kind in ("send", "recv") else (traffic.num_ranks - 1) / traffic.num_ranks
    return traffic.num_bytes * ring * (known[0] if known else 1.0)


def _not_hidden(job: Job, rank: RehearsedRank, passes: float) -> float:
    """Seconds of data-parallel traffic that no computing hides.

    FSDP gathers and reduces beside all passes. Otherwise weights are gathered beside the first forward pass, and
    gradients reduced beside the last backward pass. What the update calls, nothing hides.
    """
    during = [one for one in _of(rank, "data") if one.phase == "passes"]
    gathers = [one for one in during if "gather" in one.collective]
    reduces = [one for one in during if one not in gathers]
    after = _seconds((one for one in _of(rank, "data") if one.phase != "passes"), job.gpu)
    if job.recipe.parallel.sharding == "parameters":
        return max(0.0, _seconds(during, job.gpu) - passes) + after
    of_a_pack = passes / job.num_packs
    waits = (
        _seconds(gathers, job.gpu) - (1 - BACKWARD_SHARE) * of_a_pack,
        _seconds(reduces, job.gpu) - BACKWARD_SHARE * of_a_pack,
    )
    return sum(max(0.0, wait) for wait in waits) + after


def _of(rank: RehearsedRank, group: str) -> list[Traffic]:
    return [one for one in rank.traffic if one.group == group]


def _seconds(traffic: Iterable[Traffic], gpu: Gpu) -> float:
    return sum(seconds_of(one, gpu) for one in traffic)


def _bandwidth(ranks: tuple[int, ...], gpu: Gpu) -> float:
    """Bytes per second of a ring: within a node its links; else all network of those members that share a node.

    A ring enters and leaves each node once, and NCCL lays as many rings as the members there have network cards.
    """
    nodes = [rank // gpu.gpus_per_node for rank in ranks]
    if len(set(nodes)) == 1:
        return gpu.link_gb_per_s * 1e9
    fewest = min(nodes.count(node) for node in set(nodes))
    return min(gpu.link_gb_per_s, fewest * gpu.network_gb_per_s) * 1e9


def _touched(job: Job, rank: RehearsedRank) -> tuple[float, float]:
    """Bytes read and written by kernels that wait for memory: (in the passes, in the update).

    A stage of a pipeline keeps as many packs at a time as there are stages from it to the last. The update reads
    gradients, reads and writes the optimizer's state and the EMA, and writes weights.
    """
    kept = rank.kept
    at_once = min(job.recipe.parallel.pipeline - rank.pipeline_rank, job.num_packs)
    update = kept["gradients"] + 2 * (kept["optimizer"] + kept["ema"]) + kept["weights"]
    return TOUCHES * rank.activations / at_once * job.num_packs, update


def _peak(job: Job) -> float:
    return job.gpu.tflops(job.recipe.train.precision) * 1e12
