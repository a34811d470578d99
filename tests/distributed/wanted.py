"""What the tests of this folder need to be trained: in one list, so that each number of processes is started once."""

from pathlib import Path

from benchmarks.layouts import ALONE, LAYOUTS, OBJECTIVES
from benchmarks.tiny_runs import Job

HARDEST = "fm-uniform+t"
"""With time conditioning and a loss that uses it: what most easily goes wrong meets every layout."""

CELLS = [
    *((HARDEST, layout, "fp32") for layout in LAYOUTS),
    *(("mlm-esm2", layout, "fp32") for layout in (ALONE, "DP2+FSDP", "TP2+SP", "PP2")),
    *((objective, layout, "fp32") for objective in ("absorbing", "fm", "mlm") for layout in (ALONE, "TP2")),
    *((HARDEST, layout, "bf16") for layout in (ALONE, "DP2+FSDP", "TP2+SP", "PP2")),
]
"""The part of the matrix of `benchmarks.parity` that is compared here."""

SAVED = ("DP2+optimizer", "DP2+FSDP", "TP2", "PP2")
"""Layouts that are stopped, and continued on themselves and on each other."""
MOVED = [(saved, loaded) for saved in SAVED for loaded in (*SAVED, ALONE, "DP2xTP2+optimizer") if saved != loaded]
"""(saved in, continued in): also from two processes to one and to four."""

RESUMED = [
    *(
        (objective, "DP2+optimizer", precision)
        for objective in ("absorbing", "fm", HARDEST, "mlm")
        for precision in ("fp32", "bf16")
    ),
    *((HARDEST, layout, precision) for layout in SAVED[1:] for precision in ("fp32", "bf16")),
]
SHORT = ("train.global_batch_tokens=512", "evaluate.every_steps=7")
"""Two packs to a step, and an evaluation where the run is stopped, which is always evaluated."""
STRAIGHT, HALF = (*SHORT, "train.max_steps=20"), (*SHORT, "train.max_steps=7")
FURTHER = (*SHORT, "train.max_steps=10")


def jobs(folder: Path) -> dict[str, Job]:
    """All of them, by name. Two processes come first: the others continue what they have saved."""
    return {**_straight_and_resumed(folder), **_continued_elsewhere(folder), **_compared(folder)}


def _job(folder: Path, name: str, cell: tuple[str, str, str], options: tuple[str, ...], **more: str) -> Job:
    objective, layout, precision = cell
    num_processes, overrides = LAYOUTS[layout]
    return Job(
        str(folder / name.replace("/", "_")),
        num_processes,
        (*OBJECTIVES[objective], *overrides, f"train.precision={precision}", *options),
        **more,
    )


def _compared(folder: Path) -> dict[str, Job]:
    return {name(*cell): _job(folder, name(*cell), cell, ()) for cell in CELLS}


def _straight_and_resumed(folder: Path) -> dict[str, Job]:
    wanted = {}
    for cell in RESUMED:
        of_cell = name(*cell)
        wanted[f"{of_cell}/straight"] = _job(folder, f"{of_cell}/straight", cell, STRAIGHT)
        wanted[f"{of_cell}/half"] = half = _job(folder, f"{of_cell}/half", cell, HALF)
        wanted[f"{of_cell}/resumed"] = _job(folder, f"{of_cell}/resumed", cell, STRAIGHT, continues=half.folder)
    return wanted


def _continued_elsewhere(folder: Path) -> dict[str, Job]:
    wanted = {}
    for saved, loaded in MOVED:
        half = folder / f"{name(HARDEST, saved, 'fp32')}/half".replace("/", "_")
        cell = (HARDEST, loaded, "fp32")
        wanted[f"{saved} to {loaded}"] = _job(folder, f"{saved} to {loaded}", cell, FURTHER, continues=str(half))
    return wanted


def name(objective: str, layout: str, precision: str) -> str:
    """Of a cell."""
    return f"{objective}/{layout}/{precision}"
