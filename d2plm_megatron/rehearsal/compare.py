"""The layouts that suit a number of GPUs, each rehearsed, the fastest by estimate first."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch

from d2plm_megatron.config.overrides import from_yaml, to_yaml
from d2plm_megatron.config.sizing import GIB, memory
from d2plm_megatron.cores import available_cores
from d2plm_megatron.rehearsal.agreement import check_agreement
from d2plm_megatron.rehearsal.job import Job
from d2plm_megatron.rehearsal.rank import RehearsedRank, rehearse_rank
from d2plm_megatron.rehearsal.record import Rehearsal

SHARDINGS = ("optimizer", "none", "parameters")


def layouts(job: Job) -> Iterator[Job]:
    """The job in every layout that is sensible for its number of GPUs.

    Tensor parallelism by powers of two within a node, and then always along the sequence too; a pipeline with no more
    stages than there are packs to fill it; every sharding, where there is anything to share. Batch and packs stay.
    """
    recipe, in_node = job.recipe, job.gpu.gpus_per_node
    powers = [1 << power for power in range(in_node.bit_length()) if in_node % (1 << power) == 0]
    stages = [stage for stage in range(1, recipe.model.num_layers + 1) if recipe.model.num_layers % stage == 0]
    for tensor, pipeline, sharding in product(powers, stages, SHARDINGS):
        try:
            parallel = replace(
                recipe.parallel, tensor=tensor, sequence=tensor > 1, pipeline=pipeline, sharding=sharding
            )
            changed = replace(job, recipe=replace(recipe, parallel=parallel))
            changed.check_layout()
        except ValueError:  # says which key cannot be so
            continue
        if changed.num_packs >= pipeline and (changed.data_size > 1 or sharding == SHARDINGS[0]):
            yield changed


def may_fit(job: Job) -> bool:
    """Whether arithmetic, which is within a twentieth, leaves hope that a layout fits with the margin of a tenth."""
    return memory(job.recipe, job.data_size).total / GIB <= job.gpu_memory


def ends(job: Job) -> tuple[int, ...]:
    """The first rank of the first stage, and of the last one."""
    stages = job.recipe.parallel.pipeline
    return (0,) if stages == 1 else (0, job.world_size - job.world_size // stages)


def compare(jobs: Sequence[Job], advance: Callable[[int], None] = lambda amount: None) -> list[Rehearsal]:
    """Rehearses the ends of every layout, as many at a time as there are cores.

    Args:
        jobs: one for each layout.
        advance: is told of every rank that is done.

    Returns those that fit, the fastest first, and then the others. Raises ValueError where ranks of a layout do not
    agree, and ChildProcessError if a process was ended from outside.
    """
    found = [
        Rehearsal(job=job, ranks=ranks, comparisons=check_agreement(ranks))
        for job, ranks in zip(jobs, _rehearsed(jobs, advance), strict=True)
    ]
    return sorted(found, key=lambda one: (not one.fits, -one.estimate.tokens_per_second))


def _rehearse(recipe: Path, rank: int, world_size: int, length: int) -> RehearsedRank:
    """A rank, in a process of its own; the recipe comes as a file, which brings an own objective with it."""
    torch.set_num_threads(1)
    return rehearse_rank(from_yaml(recipe), rank, world_size, length=length)


def _rehearsed(jobs: Sequence[Job], advance: Callable[[int], None]) -> list[tuple[RehearsedRank, ...]]:
    """Of each job its ends, rehearsed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(available_cores(), mp_context=get_context("spawn")) as pool,
    ):
        running: list[list[Future[RehearsedRank]]] = []
        for number, job in enumerate(jobs):
            file = Path(folder) / f"{number}.yaml"
            file.write_text(to_yaml(job.recipe), encoding="utf-8")
            running.append([pool.submit(_rehearse, file, rank, job.world_size, job.length) for rank in ends(job)])
        try:
            for future in as_completed(future for futures in running for future in futures):
                future.result()
                advance(1)
            return [tuple(future.result() for future in futures) for futures in running]
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process that rehearsed was ended, by the system for want of memory perhaps"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
