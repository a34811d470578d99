"""Every layout gives the same training run: each is trained over gloo and compared with one process.

    python -m verification.parity --json parity.json

A cell of the table is one objective in one layout. What goes in must be the same to the bit, gathered over all
processes: initial weights by name, the proteins of every pack of every global batch in order, and what the objective
made of each of them (noisy tokens, predicted places, time). What comes out may differ by rounding, as sums over
processes run in another order: the loss and gradient norm of every step, and after the last step every weight and its
moving average, by name and as a whole, as |difference| / |value| in the Euclidean norm.

Bounds. In fp32 those of ROUNDING. In bf16, with a unit roundoff of 4e-3, tensor parallelism rounds every part of a sum
before it adds them up, where one process rounds the sum; and what the order of a sum changes in fp32 is at times enough
to round a weight the other way. The measure of that stands in the table: the error of bf16 itself, by how far one
process in bf16 is from one in fp32. Two runs with errors of that size are at most OWN_ERRORS = 2 of them apart, and no
layout may be farther from one process in bf16 (beside the bounds of fp32).
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.random_proteins import short_lengths, write_proteins
from d2plm_megatron.config import one_of
from d2plm_megatron.console import progress, run
from d2plm_megatron.runs.tensor_index import EMA, RAW
from verification.layouts import ALONE, LAYOUTS, OBJECTIVES, PRECISIONS
from verification.tiny_runs import Job, Run, train


@dataclass(frozen=True)
class Differences:
    """How far one run is from another: the largest relative differences over steps, or over names.

    Attributes:
        loss: of every step.
        gradient_norm: likewise, before clipping.
        weights: by name, after the last step.
        ema: likewise, of the EMA.
        whole_ema: of the EMA, all names together.
    """

    loss: float
    gradient_norm: float
    weights: float
    ema: float
    whole_ema: float


ROUNDING = Differences(loss=1e-6, gradient_norm=1e-5, weights=1e-5, ema=1e-5, whole_ema=1e-6)
"""What fp32 may differ by."""

OWN_ERRORS = 2
"""How many errors of bf16 itself two runs in bf16 may be apart; fp32 itself has none."""


@dataclass(frozen=True)
class Cell:
    """A run in some layout beside that of one process.

    Attributes:
        start: what is not the same to the bit in what goes in, in words; empty if all is.
        differences: in what comes out.
        bounds: that they must stay below.
    """

    start: str
    differences: Differences
    bounds: Differences

    @property
    def failure(self) -> str:
        """What does not hold, in words; empty if all does."""
        bounds, found = vars(self.bounds), vars(self.differences)
        wrong = [
            f"{name} {found[name]:.1e}, not below {bounds[name]:.1e}"
            for name in bounds
            if not found[name] < bounds[name]
        ]
        return ", ".join([*([self.start] if self.start else []), *wrong])


def judge(found: Run, alone: Run, alone_in_fp32: Run) -> Cell:
    """A run in some layout, beside one process in the same precision, which may be fp32 itself."""
    own = vars(compare(alone, alone_in_fp32))
    bounds = Differences(**{name: vars(ROUNDING)[name] + OWN_ERRORS * own[name] for name in own})
    return Cell(_differing_start(found, alone), compare(found, alone), bounds)


def compare(found: Run, wanted: Run) -> Differences:
    """What came out of two runs."""
    return Differences(
        loss=_largest(found.losses, wanted.losses),
        gradient_norm=_largest(found.gradient_norms, wanted.gradient_norms),
        weights=_largest_by_name(found.tensors, wanted.tensors, RAW),
        ema=_largest_by_name(found.tensors, wanted.tensors, EMA),
        whole_ema=_relative(_joined(found.tensors, EMA), _joined(wanted.tensors, EMA)),
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
    first, second = torch.tensor(found, dtype=torch.float64), torch.tensor(wanted, dtype=torch.float64)
    return float(((first - second) / second).abs().max())  # nan if one of them is


def _largest_by_name(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], group: str) -> float:
    relative = [_relative(found[name], wanted[name]) for name in _names(wanted, group)]
    return float(torch.tensor(relative, dtype=torch.float64).max())


def _joined(tensors: dict[str, torch.Tensor], group: str) -> torch.Tensor:
    return torch.cat([tensors[name].flatten() for name in _names(tensors, group)])


def _names(tensors: dict[str, torch.Tensor], group: str) -> list[str]:
    return sorted(name for name in tensors if name.startswith(f"{group}."))


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    found, wanted = found.double(), wanted.double()
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))


Key = tuple[str, str, str]
"""(precision, objective, layout)"""


def main(
    steps: Annotated[int, typer.Option(min=1, help="of every run")] = 10,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or both with a comma")] = ",".join(PRECISIONS),
    objectives: Annotated[str, typer.Option(help="columns, with commas between them")] = ",".join(OBJECTIVES),
    layouts: Annotated[str, typer.Option(help="rows, likewise")] = ",".join(list(LAYOUTS)[1:]),
    output: Annotated[Path | None, typer.Option("--json", help="file to write all differences to, as JSON")] = None,
) -> None:
    """Trains a tiny model in every layout and compares it with one process; exit code 1 when a cell differs."""
    precisions = chosen("--precision", precision, PRECISIONS)
    columns = chosen("--objectives", objectives, tuple(OBJECTIVES))
    rows = chosen("--layouts", layouts, tuple(LAYOUTS)[1:])
    keys = [(p, column, row) for p in precisions for column in columns for row in rows]
    cells, own_errors = judged(keys, steps)
    for p in precisions:
        show(p, columns, rows, cells, own_errors, steps)
    where = machine("torch", "megatron-core")
    print(f"{where}, gloo")
    if output is not None:
        entries = [
            dict(zip(("precision", "objective", "layout"), k, strict=True)) | asdict(c) for k, c in cells.items()
        ]
        output.write_text(json.dumps({"machine": where, "steps": steps, "cells": entries}, indent=1) + "\n")
    failures = {key: cell.failure for key, cell in cells.items() if cell.failure}
    for key, failure in failures.items():
        print(f"failed: {' '.join(key)}: {failure}")
    if failures:
        raise typer.Exit(1)


def chosen(option: str, given: str, allowed: tuple[str, ...]) -> list[str]:
    """The names between the commas. Raises ValueError, with the nearest name, for one that is not allowed."""
    names = given.split(",")
    for name in names:
        one_of(option, name, allowed)
    return names


def judged(keys: list[Key], steps: int) -> tuple[dict[Key, Cell], dict[str, Differences]]:
    """Trains all cells and, for each objective, one process; also returns how far bf16 alone is from fp32."""
    alone = dict.fromkeys((p, objective, ALONE) for precision, objective, _ in keys for p in ("fp32", precision))
    with tempfile.TemporaryDirectory() as folder, progress("runs", total=len(alone) + len(keys)) as advance:
        jobs = {key: job(key, Path(folder) / str(number), steps) for number, key in enumerate((*alone, *keys))}
        proteins = write_proteins(Path(folder) / "proteins", short_lengths(200))
        finished = train(list(jobs.values()), proteins, lambda: advance(1))
        runs = dict(zip(jobs, finished, strict=True))
        cells = {key: judge(runs[key], runs[key[0], key[1], ALONE], runs["fp32", key[1], ALONE]) for key in keys}
        own = {
            objective: compare(runs[key], runs["fp32", objective, ALONE])
            for key in alone
            for precision, objective, _ in [key]
            if precision == "bf16"
        }
        return cells, own


def job(key: Key, folder: Path, steps: int) -> Job:
    """The run of a cell."""
    precision, objective, layout = key
    num_processes, overrides = LAYOUTS[layout]
    options = (f"train.precision={precision}", f"train.max_steps={steps}")
    return Job(str(folder), num_processes, (*OBJECTIVES[objective], *overrides, *options))


def show(
    precision: str,
    columns: list[str],
    rows: list[str],
    cells: dict[Key, Cell],
    own_errors: dict[str, Differences],
    steps: int,
) -> None:
    """Prints the table of a precision, and below it the largest differences of all its cells."""
    table = Table(title=f"{precision}, {steps} steps: largest relative difference to one process, loss / weights")
    for column in ("layout", *columns):
        table.add_column(column, justify="left" if column == "layout" else "right", no_wrap=True)
    if precision == "bf16":
        table.add_row("(fp32, one process)", *(numbers(own_errors[column]) for column in columns), end_section=True)
    for row in rows:
        of_row = [cells[precision, column, row] for column in columns]
        table.add_row(
            row, *(f"[red]{numbers(c.differences)}[/red]" if c.failure else numbers(c.differences) for c in of_row)
        )
    Console(width=24 + 17 * len(columns)).print(table)
    shown = [cell.differences for key, cell in cells.items() if key[0] == precision]
    largest = {name: max(vars(differences)[name] for differences in shown) for name in vars(ROUNDING)}
    print("at most:", ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in largest.items()))


def numbers(differences: Differences) -> str:
    """What a cell of the table says."""
    return f"{differences.loss:.0e} / {differences.weights:.0e}"


if __name__ == "__main__":
    run(main)
