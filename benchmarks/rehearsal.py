"""Rehearsals of the shipped recipes on as many GPUs as they are meant for, and what they say beside what was measured.

    python -m benchmarks.rehearsal              the table of README: memory, traffic, estimated rates, CPU seconds
    python -m benchmarks.rehearsal --published  estimated rates of ESM-2 beside those that others have published

Rank 0 is rehearsed. Where there is a GPU, the first table ends with the peak of a small run on it, as torch's allocator
counts it, beside the rehearsed one.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import typer
from rich.table import Table

from benchmarks.machine import machine
from d2plm_megatron.config import MODEL_SIZES, Data, MaskedLM, Parallel, Recipe, Train
from d2plm_megatron.config.budget import TYPICAL_LENGTH
from d2plm_megatron.config.hardware import GPUS
from d2plm_megatron.config.recipe_files import build, find, load
from d2plm_megatron.config.sizing import GIB
from d2plm_megatron.console import progress, run, show
from d2plm_megatron.objectives import build as build_objective
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.rehearsal.estimate import estimate, sent
from d2plm_megatron.rehearsal.job import Job
from d2plm_megatron.rehearsal.rank import rehearse_rank
from d2plm_megatron.rehearsal.record import Rehearsal, parts, peak
from d2plm_megatron.rehearsal.stand_ins import pack_of
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs

CASES = {"absorbing_450m": 8, "esm2_650m": 256, "esm2_3b": 64, "esm2_15b": 1024}
"""Recipes, and on how many GPUs."""


H100 = GPUS["H100"]


@dataclass(frozen=True)
class Published:
    """A rate that others have measured: padded tokens of 1,024 to a protein, per second and GPU."""

    size: str
    gpu: str
    tokens_per_second: float
    source: str


PUBLISHED = (
    Published("esm2_650m", "A100", 42_800, "NVIDIA, BioNeMo's ESM-2 on Megatron-core"),
    Published("esm2_650m", "H100", 96_100, "NVIDIA, BioNeMo's ESM-2 on Megatron-core, 16 GPUs"),
    Published("esm2_650m", "B200", 184_300, "NVIDIA, BioNeMo's esm2_native_te: 815 TFLOP/s on a B300"),
    Published("esm2_3b", "H100", 26_900, "NVIDIA, BioNeMo's ESM-2 on Megatron-core"),
)
PUBLISHED_LENGTH, PUBLISHED_PACK = 1024, 16_384


def main(
    published: Annotated[
        bool, typer.Option("--published", help="estimates beside rates that others published")
    ] = False,
) -> None:
    """Rehearses shipped recipes on the GPUs that they are meant for."""
    show(_beside_published() if published else _recipes(), width=180)
    if not published and torch.cuda.is_available():
        recipe = small()
        rehearsed, measured = rehearse_rank(recipe, 0, 1).peak_passes / GIB, measured_peak(recipe) / GIB
        print(f"peak of {recipe.name} on one GPU: {measured:.3f} GiB measured, {rehearsed:.3f} rehearsed")
        print(machine("torch", "megatron-core", device="cuda"))
    print(machine("d2plm-megatron", "torch", "megatron-core"))


def small() -> Recipe:
    """A run for one GPU, without Transformer Engine's kernels, which are not rehearsed."""
    return Recipe(
        name="esm2_35m",
        model=replace(MODEL_SIZES["esm2_35m"], backend="torch"),
        objective=MaskedLM(),
        data=Data(tokens_per_pack=16_384),
        train=Train(global_batch_tokens=4 * 16_384),
    )


def measured_peak(recipe: Recipe) -> int:
    """Bytes that torch's allocator gave out at most in the passes of a second step, on the GPU here."""
    with parallel_context(Parallel()) as processes:
        engine, objective = Engine(recipe, processes), build_objective(recipe.objective)
        packs = [pack_of(recipe.data.tokens_per_pack, TYPICAL_LENGTH)] * (
            recipe.train.global_batch_tokens // recipe.data.tokens_per_pack
        )
        for step in range(2):
            engine.prepare(step)
            torch.cuda.reset_peak_memory_stats()
            sums = run_packs(engine.wrapped, objective, packs, processes.device, recipe.train.seed, train=True)
            found = torch.cuda.max_memory_allocated()
            engine.update(sums.loss)
        return found


def _recipes() -> Table:
    kept = ("weights", "gradients", "optimizer", "ema", "activations", "peak")
    sends = ("tensor", "data", "pipeline")
    table = Table(title="rank 0, GiB; sent in a step, GiB; estimated for H100")
    layout = "tensor x pipeline x data"
    for column in ("run", layout, *kept, *(f"{name} sent" for name in sends), "tokens/s", "MFU", "CPU s"):
        table.add_column(column, justify="left" if column in ("run", layout) else "right")
    with progress("rehearsing", total=len(CASES), unit="ranks") as advance:
        for name, world_size in CASES.items():
            found = _rehearsed(build(load(find(name))), world_size)
            rank, speed = found.ranks[0], found.estimate
            sizes = {**parts(rank), "peak": peak(rank)}
            sent_in = [sum(sent(one) for one in rank.traffic if one.group == group) for group in sends]
            memory = [f"{size / GIB:.2f}" for size in (*(sizes[part] for part in kept), *sent_in)]
            rates = (f"{speed.tokens_per_second:,.0f}", f"{speed.mfu:.0%}", f"{rank.cpu_seconds:.0f}")
            split = found.job.recipe.parallel
            layout = f"{split.tensor} x {split.pipeline} x {found.job.data_size}"
            table.add_row(f"{name} on {world_size:,}", layout, *memory, *rates)
            advance(1)
    return table


def _beside_published() -> Table:
    table = Table("model", "GPU", "published", "estimated", "ratio", "source", title="tokens/s of a GPU, bf16")
    jobs = {one.size: _of_one_gpu(one.size) for one in PUBLISHED}
    ranks = {size: rehearse_rank(job.recipe, 0, 1, length=job.length) for size, job in jobs.items()}
    for one in PUBLISHED:
        found = estimate(replace(jobs[one.size], gpu=GPUS[one.gpu]), [ranks[one.size]]).tokens_per_second
        rates = (f"{one.tokens_per_second:,.0f}", f"{found:,.0f}", f"{found / one.tokens_per_second:.2f}")
        table.add_row(one.size, one.gpu, *rates, one.source)
    return table


def _of_one_gpu(size: str) -> Job:
    data, train = Data(tokens_per_pack=PUBLISHED_PACK), Train(global_batch_tokens=2 * PUBLISHED_PACK)
    recipe = Recipe(model=MODEL_SIZES[size], objective=MaskedLM(), data=data, train=train)
    return Job(recipe=recipe, world_size=1, gpu=H100, gpu_memory=H100.memory_gib, length=PUBLISHED_LENGTH)


def _rehearsed(recipe: Recipe, world_size: int) -> Rehearsal:
    job = Job(recipe=recipe, world_size=world_size, gpu=H100, gpu_memory=H100.memory_gib)
    return Rehearsal(job=job, ranks=(rehearse_rank(recipe, 0, world_size, length=job.length),), comparisons=0)


if __name__ == "__main__":
    run(main)
