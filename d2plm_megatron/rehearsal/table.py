"""A rehearsal as tables: memory, traffic, and an estimate of the time."""

from collections.abc import Sequence

from rich.table import Table

from d2plm_megatron.config.budget import caveat, compute_optimal_tokens
from d2plm_megatron.config.fitting import MARGIN
from d2plm_megatron.config.parameters import ALL
from d2plm_megatron.config.sizing import GIB, num_parameters
from d2plm_megatron.console import counted, show, span
from d2plm_megatron.rehearsal.estimate import Estimate, sent
from d2plm_megatron.rehearsal.rank import RehearsedRank
from d2plm_megatron.rehearsal.record import Rehearsal, layout_keys, parts, peak

WIDTH = 120
_NOT_COUNTED = "for what is not rehearsed: CUDA's context, buffers of NCCL, scratch of kernels, fragmentation"


def print_rehearsal(found: Rehearsal) -> None:
    """Prints all that was found."""
    job = found.job
    size = num_parameters(job.recipe.model)
    print(f"{job.recipe.name}: {size:,} parameters on {job.world_size:,} {job.gpu.name}: {job.layout}")
    show(_memory(found), width=WIDTH)
    print(_verdict(found))
    for rank in found.ranks[:1] if _are_alike(found.ranks) else found.ranks:
        if rank.traffic:
            show(_traffic(rank), width=WIDTH)
    show(_time(found), width=WIDTH)
    if len(found.ranks) > 1:
        print(f"the ranks agree: {counted(found.comparisons, 'collective call')} compared")


def print_layouts(found: Sequence[Rehearsal]) -> None:
    """Prints layouts, in the order given, and which keys take the first that fits."""
    job = found[0].job
    table = _table(
        f"{job.recipe.name} on {job.world_size:,} {job.gpu.name}: layouts, by estimated speed",
        ("layout", "packs", "GiB", "fits", "step, s", "tokens/s", "MFU", "binds"),
    )
    for one in found:
        speed = one.estimate
        table.add_row(
            one.job.layout,
            f"{one.job.num_packs:,}",
            f"{peak(one.fullest) / GIB:.1f}",
            "yes" if one.fits else "no",
            f"{speed.step.total:.3g}",
            f"{speed.tokens_per_second:,.0f}",
            f"{speed.mfu:.0%}",
            speed.step.binds,
        )
    show(table, width=WIDTH)
    if found[0].fits:
        print(f"the fastest that fits: {' '.join(layout_keys(found[0]))}")


def _memory(found: Rehearsal) -> Table:
    name, size = unit(peak(found.fullest))
    columns = ("rank", "data/tensor/stage", *parts(found.fullest), "peak", "CPU s")
    table = _table(f"memory, {name}", columns)
    for rank in found.ranks:
        place = f"{rank.data_rank}/{rank.tensor_rank}/{rank.pipeline_rank}"
        sizes = [f"{part / size:.2f}" for part in (*parts(rank).values(), peak(rank))]
        table.add_row(f"{rank.rank:,}", place, *sizes, f"{rank.cpu_seconds:.1f}")
    return table


def _verdict(found: Rehearsal) -> str:
    needed, memory = peak(found.fullest) / GIB, found.job.gpu_memory
    return (
        f"{'fits' if found.fits else 'too much'}: {needed:.1f} of {memory:.0f} GiB, on rank {found.fullest.rank:,} "
        f"(up to {(1 - MARGIN) * memory:.0f} would fit)\n{MARGIN:.0%} are left {_NOT_COUNTED}"
    )


def _are_alike(ranks: Sequence[RehearsedRank]) -> bool:
    """Whether their traffic differs by nothing but who the others are."""
    seen = {
        tuple((one.phase, one.collective, one.group, one.num_ranks, one.calls, one.num_bytes) for one in rank.traffic)
        for rank in ranks
    }
    return len(seen) == 1


def _traffic(rank: RehearsedRank) -> Table:
    name, size = unit(max((one.num_bytes for one in rank.traffic), default=0))
    columns = ("phase", "collective", "group", "ranks", "calls", name, "sent")
    table = _table(f"traffic of rank {rank.rank:,} in a step, {name}", columns)
    for one in sorted(rank.traffic, key=sent, reverse=True):
        sizes = (f"{one.num_bytes / size:.2f}", f"{sent(one) / size:.2f}")
        table.add_row(one.phase, one.collective, one.group, f"{one.num_ranks:,}", f"{one.calls:,}", *sizes)
    return table


def _time(found: Rehearsal) -> Table:
    estimate = found.estimate
    rank = next(rank for rank in found.ranks if rank.rank == estimate.slowest)
    table = Table(title=f"a step on {found.job.gpu.name}, estimated; no GPU was asked", show_header=False)
    table.add_row(
        "operations of a rank",
        f"{rank.flops:.3e} in matrix products and attention; {rank.num_operations:,} calls of torch",
    )
    for name, seconds in vars(estimate.step).items():
        table.add_row(name, f"{seconds * 1e3:,.1f} ms, {seconds / estimate.step.total:.0%}")
    for name, value in _rates(found, estimate):
        table.add_row(name, value)
    return table


def _rates(found: Rehearsal, estimate: Estimate) -> list[tuple[str, str]]:
    job, rate = found.job, estimate.tokens_per_second
    size, objective = num_parameters(job.recipe.model), job.recipe.objective.name
    rows = [
        ("step", f"{estimate.step.total:.3g} s on rank {estimate.slowest:,}, the slowest; {estimate.step.binds} binds"),
        ("tokens/s", f"{rate:,.0f}, {rate / job.world_size:,.0f} per GPU"),
        ("MFU", f"{estimate.mfu:.1%}"),
        ("run", f"{job.num_tokens:.2e} tokens in {span(job.num_tokens / rate)}"),
    ]
    if job.recipe.train.init_from is None and job.recipe.train.trainable == ALL:  # the law is of trainings from scratch
        best = compute_optimal_tokens(size, objective)
        source = ", ".join(filter(None, ("Cheng et al. 2024", caveat(size, objective))))
        rows.append(("compute-optimal", f"{best:.2e} tokens ({source}) in {span(best / rate)}"))
    return rows


def unit(largest: float) -> tuple[str, float]:
    """In which sizes are told beside the largest of them: its name, and how many bytes it has."""
    return ("GiB", GIB) if largest >= GIB else ("MiB", GIB / 1024)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    words = ("rank", "layout", "phase", "collective", "group", "binds")
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right")
    return table
