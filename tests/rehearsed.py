"""Jobs and rehearsed ranks made by hand, for tests of what is made of them."""

from typing import Any

from d2plm_megatron.config import Data, Parallel, Recipe, Train
from d2plm_megatron.config.hardware import Gpu
from d2plm_megatron.rehearsal.job import Job
from d2plm_megatron.rehearsal.rank import RehearsedRank, Traffic

GPU = Gpu("made up", 80.0, 1000.0, 50.0, 2000.0, 400.0, 40.0, 8, "this test")
GIGA = 10**9


def traffic(
    collective: str,
    ranks: tuple[int, ...],
    num_bytes: int,
    calls: int = 1,
    group: str = "tensor",
    phase: str = "passes",
) -> Traffic:
    """Of a rank in one group."""
    return Traffic(
        phase=phase,
        collective=collective,
        group=group,
        num_ranks=len(ranks),
        ranks=ranks,
        calls=calls,
        num_bytes=num_bytes,
    )


def job(world_size: int = 1, packs: int = 4, **parallel: Any) -> Job:
    """A run of so many packs per data rank, of 8,192 tokens each."""
    layout = Parallel(**parallel)
    data_size = world_size // (layout.tensor * layout.pipeline)
    train = Train(global_batch_tokens=8192 * packs * data_size)
    recipe = Recipe(parallel=layout, data=Data(tokens_per_pack=8192), train=train)
    return Job(recipe=recipe, world_size=world_size, gpu=GPU, gpu_memory=GPU.memory_gib, length=256)


def rank(
    *of_it: Traffic, stage: int = 0, activations: int = 0, flops: int = 0, kept: int = 0, update: int = 0
) -> RehearsedRank:
    """Rank 0, with so many bytes of each kind that is kept."""
    return RehearsedRank(
        rank=0,
        data_rank=0,
        tensor_rank=0,
        pipeline_rank=stage,
        kept=dict.fromkeys(("weights", "gradients", "optimizer", "ema", "other"), kept),
        peak_passes=5 * kept + activations,
        peak_update=5 * kept + update,
        gathered=0,
        traffic=of_it,
        flops=flops,
        num_operations=1,
        orders={},
        cpu_seconds=0.0,
    )
