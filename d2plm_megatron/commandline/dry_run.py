"""The dry run: whether a recipe can work, here or on a cluster, and what it takes."""

import os
import shutil
import subprocess
from collections.abc import Iterator

from rich.table import Table

from d2plm_megatron.config import Recipe, at_least, between
from d2plm_megatron.config.budget import MFU_RANGE, TYPICAL_LENGTH, caveat, compute_optimal_tokens, seconds_for
from d2plm_megatron.config.fitting import LARGEST_GPU_GIB, MARGIN, check_fits, fits
from d2plm_megatron.config.hardware import Gpu, gpu, of_device
from d2plm_megatron.config.parameters import ALL
from d2plm_megatron.config.sizing import (
    GIB,
    Memory,
    memory,
    memory_of_stages,
    num_parameters,
    num_trained,
    training_flops,
)
from d2plm_megatron.console import counted, show, span
from d2plm_megatron.data.corpus import open_corpora
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.parallel.launched import check_batch, check_layout, world_size
from d2plm_megatron.runs.parent import check_parent


def print_plan(
    recipe: Recipe, num_processes: int | None, gpu_memory: float | None, gpu_name: str | None = None
) -> None:
    """Prints sizes, layout, memory per GPU, and length of the run in tokens and, where the GPU is known, in time.

    Args:
        recipe: to check.
        num_processes: of the run; None for as many as torchrun started.
        gpu_memory: GiB of a GPU; None for that of the kind, or else of the one here, if any.
        gpu_name: kind of the GPUs, of config/hardware.py; None for the one here, if any.

    Raises ValueError saying what to change when the recipe cannot work.
    """
    at_least("--world-size", num_processes, 1)
    if gpu_memory is not None:
        between("--gpu-memory", gpu_memory, 1.0, LARGEST_GPU_GIB)
    kind, memory_of_kind = (gpu(gpu_name), gpu(gpu_name).memory_gib) if gpu_name is not None else _gpu_here()
    num_processes, gpu_memory = num_processes or world_size(), gpu_memory or memory_of_kind
    data_size = check_layout(recipe.parallel, num_processes)
    check_batch(recipe, data_size)
    needed = memory(recipe, data_size)
    table = Table(title=f"{recipe.name}: dry run", show_header=False)
    for name, value in (
        *_model_rows(recipe),
        *_run_rows(recipe, num_processes, data_size),
        *_budget_rows(recipe, num_processes, kind),
        *_data_rows(recipe),
        *_memory_rows(recipe, data_size, needed, gpu_memory),
    ):
        table.add_row(name, value)
    show(table, width=100)
    if gpu_memory is not None:
        check_fits(recipe, needed.total, vars(needed), gpu_memory)


def opening(recipe: Recipe, num_proteins: int, num_processes: int) -> str:
    """What is about to be trained, and on what: the line that comes at once, before anything heavy is imported."""
    return (
        f"{recipe.name}: {num_parameters(recipe.model):,} parameters, {counted(num_proteins, 'protein')}, "
        f"{counted(num_processes, 'process')}"
    )


def what_is_done(recipe: Recipe, device: str) -> str:
    """How long the run is and where it goes: the line that comes before all steps."""
    return (
        f"on {device}: {counted(recipe.train.max_steps, 'step')} of "
        f"{counted(recipe.train.global_batch_tokens, 'token')}, into {recipe.output}/{recipe.name}"
    )


def _model_rows(recipe: Recipe) -> Iterator[tuple[str, str]]:
    model = recipe.model
    yield "parameters", f"{num_parameters(model):,}"
    if recipe.train.trainable != ALL:
        yield "of which train", f"{num_trained(recipe):,}"
    yield (
        "layers x hidden x heads x ffn",
        " x ".join(
            f"{size:,}"
            for size in (model.num_layers, model.hidden_size, model.num_attention_heads, model.ffn_hidden_size)
        ),
    )
    yield "objective", recipe.objective.name
    if (parent := check_parent(recipe)) is not None:
        yield "begins with", f"{recipe.train.init_weights} weights of {parent.path}"


def _run_rows(recipe: Recipe, num_processes: int, data_size: int) -> Iterator[tuple[str, str]]:
    parallel, train = recipe.parallel, recipe.train
    yield (
        "processes",
        (
            f"{num_processes:,} = tensor {parallel.tensor} x pipeline {parallel.pipeline} x data {data_size}, "
            f"sharding {parallel.sharding}"
        ),
    )
    packs = train.global_batch_tokens // recipe.data.tokens_per_pack // data_size
    yield (
        "step",
        f"{train.global_batch_tokens:,} tokens, {counted(packs, 'pack')} of {recipe.data.tokens_per_pack:,} "
        "per data rank",
    )
    tokens = train.max_steps * train.global_batch_tokens
    yield "run", f"{train.max_steps:,} steps, {tokens:,} tokens"
    flops = training_flops(recipe.model, tokens, tokens * TYPICAL_LENGTH)
    yield "operations", f"{flops:.2e} for proteins of about {TYPICAL_LENGTH} residues"


def _budget_rows(recipe: Recipe, num_processes: int, kind: Gpu | None) -> Iterator[tuple[str, str]]:
    """The law is of trainings from scratch; one that begins with weights, or trains a part of them, is not compared."""
    tokens, number = recipe.train.max_steps * recipe.train.global_batch_tokens, num_parameters(recipe.model)
    if recipe.train.init_from is None and recipe.train.trainable == ALL:
        best = compute_optimal_tokens(number, recipe.objective.name)
        source = ", ".join(filter(None, ("Cheng et al. 2024", caveat(number, recipe.objective.name))))
        yield (
            "compute-optimal",
            f"{best / 1e9:,.0f} billion tokens, each once, for this size ({source}); the run has "
            f"{100 * tokens / best:,.3g}% of them",
        )
    if kind is not None:
        slow, fast = (
            seconds_for(tokens, recipe.model, TYPICAL_LENGTH, kind, num_processes, mfu, recipe.train.precision)
            for mfu in MFU_RANGE
        )
        low, high = MFU_RANGE
        yield (
            "time",
            f"{span(fast)} to {span(slow)} on {num_processes:,} x {kind.name}, at {high:.0%} to {low:.0%} MFU",
        )


def _data_rows(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.data.validation is not None:
        yield "validation", f"{counted(len(IndexedProteins(recipe.data.validation)), 'protein')} held out"
    if recipe.data.train is None:
        yield "data", "none given (data.train=PREFIX)"
        return
    corpora = open_corpora(recipe.data)
    tokens = [corpus.num_tokens(recipe.data.max_length_residues) for corpus in corpora]
    tokens_per_draw = sum(
        float(corpus.share) * number / len(corpus) for corpus, number in zip(corpora, tokens, strict=True)
    )
    for corpus, source, number in zip(corpora, recipe.data.sources, tokens, strict=True):
        what = counted(len(corpus.proteins), "protein")
        if corpus.clusters is not None:
            what = f"one of each of {counted(len(corpus), 'cluster')} of {what}"
        tokens_to_pass = tokens_per_draw * len(corpus) / float(corpus.share)
        steps = tokens_to_pass / recipe.train.global_batch_tokens
        share = f"{float(corpus.share):.1%} of the draws: " if len(corpora) > 1 else ""
        yield "data", f"{share}{what} in {source.prefix}, {number:,.0f} tokens"
        yield "epoch", f"{steps:,.1f} steps; the run sees the data {recipe.train.max_steps / steps:,.2f} times"


def _memory_rows(recipe: Recipe, data_size: int, needed: Memory, gpu_memory: float | None) -> Iterator[tuple[str, str]]:
    if recipe.parallel.pipeline > 1:
        totals = ", ".join(f"{stage.total / GIB:.1f}" for stage in memory_of_stages(recipe, data_size))
        yield "memory per GPU by stage", f"{totals} GiB; below, that of the largest"
    for name in vars(needed):
        yield f"memory per GPU: {name}", f"{getattr(needed, name) / GIB:.1f} GiB"
    yield "memory per GPU, about", _judged(needed, gpu_memory)


def _judged(needed: Memory, gpu_memory: float | None) -> str:
    if gpu_memory is None:
        return f"{needed.total / GIB:.1f} GiB"
    verdict = "fits" if fits(needed.total, gpu_memory) else "too much"
    return (
        f"{verdict}: {needed.total / GIB:.0f} of {gpu_memory:.0f} GiB (up to {(1 - MARGIN) * gpu_memory:.0f} would fit)"
    )


def _gpu_here() -> tuple[Gpu | None, float | None]:
    """(kind, GiB) of the first GPU that this process may use, as NVIDIA's driver says; None for what is not known."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "" or shutil.which("nvidia-smi") is None:
        return None, None
    first = ["--id", visible.partition(",")[0]] if visible else []
    question = ["nvidia-smi", *first, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return None, None
    name, _, mib = answer.stdout.partition("\n")[0].rpartition(",")
    if answer.returncode != 0 or not mib.strip().isdigit():
        return None, None
    return of_device(name), int(mib) / 1024
