"""One rank of a cluster job, rehearsed: the real engine and step, on tensors without data."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.budget import TYPICAL_LENGTH
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.launched import check_batch, check_layout
from d2plm_megatron.parallel.megatron import optimizers
from d2plm_megatron.parallel.megatron.watched import Watched, storage_sizes
from d2plm_megatron.rehearsal.ledger import Call, Ledger, Phase, Ranks
from d2plm_megatron.rehearsal.stand_ins import UnsetWeights, kernels_of_gpus, pack_of, step_as_on_gpus, without_data
from d2plm_megatron.rehearsal.world import as_rank, group_names
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What a rank calls of one collective in one group, in one phase of a step.

    Attributes:
        phase: "passes", forward and backward, or "update", of the optimizer and the EMA.
        collective: its name in c10d.
        group: tensor, data, pipeline, model (tensor and pipeline), embedding or world.
        num_ranks: of the group.
        ranks: of the group.
        calls: how often.
        num_bytes: of the larger side, inputs or outputs, of all calls.
    """

    phase: str
    collective: str
    group: str
    num_ranks: int
    ranks: Ranks
    calls: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class RehearsedRank:
    """What a rank holds and does in a step. Bytes are of its GPU.

    Attributes:
        rank: in the world.
        data_rank: its place in its data-parallel group.
        tensor_rank: in its tensor-parallel group.
        pipeline_rank: its pipeline stage.
        kept: bytes between steps: weights, gradients, optimizer, ema, and other; without weights gathered ahead.
        peak_passes: the most bytes that live in the forward and backward passes, the kept ones among them.
        peak_update: the same in the update.
        gathered: of the peak of the passes, weights of other ranks (FSDP).
        traffic: collectives of groups of two ranks and more.
        flops: floating-point operations of the matrix products and the attention of a step.
        num_operations: of torch, in a step.
        orders: by the ranks of a group, the collectives that this rank has called in it in a step, in order.
        cpu_seconds: that the rehearsal took.
    """

    rank: int
    data_rank: int
    tensor_rank: int
    pipeline_rank: int
    kept: dict[str, int]
    peak_passes: int
    peak_update: int
    gathered: int
    traffic: tuple[Traffic, ...]
    flops: int
    num_operations: int
    orders: Mapping[Ranks, Sequence[Call]]
    cpu_seconds: float

    @property
    def activations(self) -> int:
        """Bytes that live at the peak of the passes beside what is kept and gathered."""
        return self.peak_passes - sum(self.kept.values()) - self.gathered


def rehearse_rank(
    recipe: Recipe, rank: int, world_size: int, *, length: int = TYPICAL_LENGTH, as_on_gpus: bool = True
) -> RehearsedRank:
    """Rehearses a rank of a job: builds its encoder, wrapper, optimizer and EMA, and takes steps, without any data.

    Args:
        recipe: of the run; its data are not read.
        rank: which.
        world_size: processes of the job.
        length: tokens of each protein.
        as_on_gpus: with the kernels of GPUs, and else with those that this machine takes.

    Raises ValueError when the processes cannot be grouped, or the batch not dealt out, as the recipe says.
    """
    check_batch(recipe, check_layout(recipe.parallel, world_size))
    recipe = replace(recipe, model=replace(recipe.model, backend="torch"))
    begun = time.process_time()
    with as_rank(rank, world_size, recipe.parallel) as processes, ExitStack() as stood_in:
        if as_on_gpus:
            stood_in.enter_context(kernels_of_gpus())
        stood_in.enter_context(without_data())
        ledger = Ledger()
        stood_in.enter_context(Watched(ledger, without_data=True))
        engine = Engine(recipe, processes, UnsetWeights())
        if as_on_gpus:
            step_as_on_gpus(engine.masters.optimizer)
            for key in storage_sizes([values for _, values in engine.frozen.kept]):
                ledger.dies(key)  # it lies in the memory of the host
        found = take_steps(engine, ledger, length)
    return replace(found, cpu_seconds=time.process_time() - begun)


def take_steps(engine: Engine, ledger: Ledger, length: int = TYPICAL_LENGTH, every_pack: bool = False) -> RehearsedRank:
    """Takes steps, of which the first makes the state of the optimizer, and tells of the last.

    Once the pipeline is full every further pack is as the one before. So of many packs the last two steps are of as
    many as show that, and of one less, and what the others add is the difference between the two.

    Args:
        engine: with data or without.
        ledger: which has been told what is done here since before the engine was built.
        length: tokens of each protein.
        every_pack: takes all packs of a step, however many they are.
    """
    recipe, filled = engine.recipe, engine.recipe.parallel.pipeline
    num_packs = recipe.train.global_batch_tokens // recipe.data.tokens_per_pack // engine.processes.data_size
    many = num_packs > 2 * filled + 1 and not every_pack
    passes = ledger.phase
    for step, taken in enumerate((1, filled, filled + 1) if many else (1, num_packs)):
        before = passes
        passes, update = _take_step(engine, ledger, step, taken, length)
    return _found(engine, ledger, passes.with_more(num_packs - taken, before), update)


def _take_step(engine: Engine, ledger: Ledger, step: int, num_packs: int, length: int) -> tuple[Phase, Phase]:
    recipe = engine.recipe
    packs = [pack_of(recipe.data.tokens_per_pack, length)] * num_packs
    objective, device = build(recipe.objective), engine.processes.device
    engine.prepare(step)
    ledger.begin()
    sums = run_packs(engine.wrapped, objective, packs, device, recipe.train.seed, train=True)
    passes = ledger.phase
    ledger.begin()
    engine.update(sums.loss)
    return passes, ledger.phase


def _found(engine: Engine, ledger: Ledger, passes: Phase, update: Phase) -> RehearsedRank:
    recipe, processes, names = engine.recipe, engine.processes, group_names()
    data_ranks = next((ranks for ranks, name in names.items() if name == "data"), ())
    fully = recipe.parallel.sharding == "parameters"
    orders = {ranks: [*passes.calls.get(ranks, []), *update.calls.get(ranks, [])] for ranks in names}
    return RehearsedRank(
        rank=processes.rank,
        data_rank=processes.data_rank,
        tensor_rank=processes.rank % recipe.parallel.tensor,
        pipeline_rank=processes.rank // (processes.world_size // recipe.parallel.pipeline),
        kept=_kept(engine, ledger.total - (ledger.by_maker[data_ranks] if fully else 0)),
        peak_passes=passes.peak,
        peak_update=update.peak,
        gathered=passes.at_peak[data_ranks] if fully else 0,
        traffic=(*_traffic("passes", passes, names), *_traffic("update", update, names)),
        flops=passes.flops + update.flops,
        num_operations=passes.num_operations + update.num_operations,
        orders={ranks: calls for ranks, calls in orders.items() if calls},
        cpu_seconds=0.0,
    )


def _kept(engine: Engine, total: int) -> dict[str, int]:
    """What lives between steps by what it is for; a storage of two uses counts as the first."""
    uses = {
        "weights": optimizers.kept_weights(engine.wrapped),
        "gradients": optimizers.kept_gradients(engine.wrapped),
        "optimizer": [*engine.masters.weights, *optimizers.moments(engine.masters.optimizer)],
        "ema": engine.ema.values,
    }
    kept: dict[str, int] = {}
    seen: dict[int, int] = {}
    for use, tensors in uses.items():
        found = storage_sizes(tensors)
        kept[use] = sum(size for key, size in found.items() if key not in seen)
        seen |= found
    return kept | {"other": total - sum(kept.values())}


def _traffic(phase: str, counted: Phase, names: Mapping[Ranks, str]) -> Iterator[Traffic]:
    for (ranks, collective), (calls, num_bytes) in counted.sums.items():
        if ranks in names:
            yield Traffic(
                phase=phase,
                collective=collective,
                group=names[ranks],
                num_ranks=len(ranks),
                ranks=ranks,
                calls=calls,
                num_bytes=num_bytes,
            )
