"""Every layout gives the same training run: each is trained over gloo and compared with one process.

    python -m benchmarks.parity --json parity.json

A cell of the table is one objective in one layout. What goes in must be the same to the bit, gathered over all
processes: initial weights by name, the proteins of every pack of every global batch in order, and what the objective
made of each of them (noisy tokens, predicted places, time). What comes out may differ by rounding, as sums over
processes run in another order: the loss and gradient norm of every step, and after the last step every weight and its
moving average, by name, as |difference| / |value| in the Euclidean norm.

Bounds in fp32 (unit roundoff 6e-8): LOSS, WEIGHTS and AVERAGE as the table says; the gradient norm stands between
loss and weights.
"""

import importlib.metadata
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.layouts import ALONE, LAYOUTS, OBJECTIVES, PRECISIONS
from benchmarks.tiny_runs import Job, Run, train, write_proteins
from d2plm_megatron.checkpoint.encoders import AVERAGE, WEIGHTS
from d2plm_megatron.config import one_of
from d2plm_megatron.console import progress, run


@dataclass(frozen=True)
class Differences:
    """How far a run is from that of one process.

    Attributes:
        start: what is not the same to the bit before or while it is put in, in words; empty if all is.
        loss: largest relative difference over the steps.
        gradient_norm: likewise.
        weights: largest relative difference over the names.
        average: likewise.
    """

    start: str
    loss: float
    gradient_norm: float
    weights: float
    average: float

    def too_large(self, bounds: dict[str, float]) -> str:
        """What exceeds its bound, in words; empty if nothing does."""
        found = {name: getattr(self, name) for name in bounds}
        wrong = [
            f"{name} {found[name]:.1e}, not below {bounds[name]:.0e}"
            for name in bounds
            if not found[name] < bounds[name]
        ]
        return ", ".join([*([self.start] if self.start else []), *wrong])


ROUNDING = {"loss": 1e-6, "gradient_norm": 1e-5, "weights": 1e-5, "average": 1e-6}
ROUNDING_IN_BF16 = {"loss": 1e-3, "gradient_norm": 1e-2, "weights": 5e-2, "average": 5e-2}


def bounds(layout: str, precision: str) -> dict[str, float]:
    """What the differences of a cell must stay below; the reasons are in the docstring of this module."""
    return ROUNDING_IN_BF16 if precision == "bf16" and "TP" in layout else ROUNDING


def compare(found: Run, alone: Run) -> Differences:
    """A run in some layout with the same run of one process."""
    return Differences(
        start=_differing_start(found, alone),
        loss=_largest(found.losses, alone.losses),
        gradient_norm=_largest(found.gradient_norms, alone.gradient_norms),
        weights=_largest_by_name(found.tensors, alone.tensors, WEIGHTS),
        average=_largest_by_name(found.tensors, alone.tensors, AVERAGE),
    )


def _differing_start(found: Run, alone: Run) -> str:
    """Compared with ==."""
    initial, wanted = found.initial_weights, alone.initial_weights
    if initial.keys() != wanted.keys() or not all(torch.equal(initial[name], wanted[name]) for name in wanted):
        return "initial weights differ"
    packs, wanted_packs = found.noisy_packs, alone.noisy_packs
    if not packs or packs.keys() != wanted_packs.keys():
        return "other packs"
    if packs != wanted_packs:
        return f"pack {next(number for number in packs if packs[number] != wanted_packs[number])} differs"
    return ""


def _largest(found: list[float], wanted: list[float]) -> float:
    return max(abs(one - other) / abs(other) for one, other in zip(found, wanted, strict=True))


def _largest_by_name(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], group: str) -> float:
    names = [name for name in wanted if name.startswith(f"{group}.")]
    assert names, f"no {group}"
    return max(_relative(found[name].double(), wanted[name].double()) for name in names)


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))


Cell = tuple[str, str, str]
"""(precision, objective, layout)"""


def main(
    steps: Annotated[int, typer.Option(min=1, help="of every run")] = 10,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or both as fp32,bf16")] = ",".join(PRECISIONS),
    objectives: Annotated[str, typer.Option(help="columns, with commas between them")] = ",".join(OBJECTIVES),
    layouts: Annotated[str, typer.Option(help="rows, likewise")] = ",".join(list(LAYOUTS)[1:]),
    output: Annotated[Path | None, typer.Option("--json", help="file to write all differences to, as JSON")] = None,
) -> None:
    """Trains a tiny model in every layout and compares it with one process; exit code 1 when a cell differs."""
    precisions = chosen("--precision", precision, PRECISIONS)
    columns = chosen("--objectives", objectives, tuple(OBJECTIVES))
    rows = chosen("--layouts", layouts, tuple(LAYOUTS)[1:])
    cells = [(p, column, row) for p in precisions for column in columns for row in (ALONE, *rows)]
    found = differences(cells, steps)
    for p in precisions:
        show(p, columns, rows, {cell: differs for cell, differs in found.items() if cell[0] == p}, steps)
    print(machine())
    failures = failed(found)
    if output is not None:
        entries = [
            dict(zip(("precision", "objective", "layout"), c, strict=True)) | asdict(d) for c, d in found.items()
        ]
        output.write_text(json.dumps({"machine": machine(), "steps": steps, "cells": entries}, indent=1) + "\n")
    for failure in failures:
        print(f"failed: {failure}")
    if failures:
        raise typer.Exit(1)


def chosen(option: str, given: str, allowed: tuple[str, ...]) -> list[str]:
    """The names between the commas. Raises ValueError, with the nearest name, for one that is not allowed."""
    names = given.split(",")
    for name in names:
        one_of(option, name, allowed)
    return names


def differences(cells: list[Cell], steps: int) -> dict[Cell, Differences]:
    """Trains all cells, those of one process among them, and compares the others with those."""
    with tempfile.TemporaryDirectory() as folder, progress("runs", total=len(cells)) as advance:
        jobs = [job(cell, Path(folder) / str(number), steps) for number, cell in enumerate(cells)]
        finished = train(jobs, write_proteins(Path(folder) / "proteins"), lambda: advance(1))
        runs = dict(zip(cells, finished, strict=True))
        return {cell: compare(run, runs[(*cell[:2], ALONE)]) for cell, run in runs.items() if cell[2] != ALONE}


def job(cell: Cell, folder: Path, steps: int) -> Job:
    """The run of a cell."""
    precision, objective, layout = cell
    num_processes, overrides = LAYOUTS[layout]
    options = (f"train.precision={precision}", f"train.max_steps={steps}")
    return Job(str(folder), num_processes, (*OBJECTIVES[objective], *overrides, *options))


def failed(found: dict[Cell, Differences]) -> list[str]:
    """One line for each cell that does not hold."""
    judged = {cell: differs.too_large(bounds(cell[2], cell[0])) for cell, differs in found.items()}
    return [f"{' '.join(cell)}: {wrong}" for cell, wrong in judged.items() if wrong]


def show(precision: str, columns: list[str], rows: list[str], found: dict[Cell, Differences], steps: int) -> None:
    """Prints the table of a precision, and below it the largest differences of all its cells."""
    table = Table(title=f"{precision}, {steps} steps: largest relative difference of loss / weights to one process")
    for column in ("layout", *columns):
        table.add_column(column, justify="left" if column == "layout" else "right", no_wrap=True)
    for row in rows:
        table.add_row(row, *(shown(found[precision, column, row], row, precision) for column in columns))
    console = Console(width=max(100, 24 + 20 * len(columns)))
    console.print(table)
    for kind, of_kind in (("without tensor parallelism", False), ("with", True)):
        some = [differs for cell, differs in found.items() if ("TP" in cell[2]) is of_kind]
        if some:
            largest = {name: max(getattr(differs, name) for differs in some) for name in ROUNDING}
            print(f"{kind}: at most", ", ".join(f"{name} {value:.1e}" for name, value in largest.items()))


def shown(differs: Differences, layout: str, precision: str) -> str:
    """A cell of the table."""
    if differs.start:
        return f"[red]{differs.start}[/red]"
    text = f"{differs.loss:.0e} / {differs.weights:.0e}"
    return f"[red]{text}[/red]" if differs.too_large(bounds(layout, precision)) else text


def machine() -> str:
    """What was computed on, with what, and when."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "megatron-core")]
    where = f"{os.cpu_count()}-core {platform.machine()} CPU, gloo, Python {platform.python_version()}"
    return f"{where}; {', '.join(versions)}; {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    run(main)
