"""Damages everything that is read from disk or network, thousands of times, and fails unless each reader notices.

    python -m verification.fuzz --rounds 300

Each case damages a copy of something valid by a seed of its own, and has it read in a process that is watched. That
ends well with one clear line of an error, or with the data as they were. A crash, a traceback, a hang, other data in
silence, code that runs, or a file written elsewhere is a failure, and is printed with the command that repeats it.
"""

import multiprocessing
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import matplotlib.figure  # noqa: F401  (makes the folder of its configuration, which no reader may)
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from d2plm_megatron.config import one_of
from d2plm_megatron.console import one_line, progress, run
from d2plm_megatron.cores import available_cores
from verification.fuzzing.attack import Attack
from verification.fuzzing.attacks import ATTACKS
from verification.fuzzing.trial import ACCEPTED, FAILED, REFUSED, Case, Prepared, made

_CASES_AT_ONCE = 4


def main(
    rounds: Annotated[int, typer.Option(min=1, help="cases of each class")] = 300,
    only: Annotated[list[str] | None, typer.Option(help=f"classes: {', '.join(ATTACKS)} (default: all)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the first case; the next ones follow it")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="processes (default: one per core)")] = None,
    keep: Annotated[Path | None, typer.Option(help="folder to keep the damaged files of failures in")] = None,
) -> None:
    """Attacks every reader and prints what became of the cases; exit code 1 when one of them failed."""
    for name in only or ():
        one_of("--only", name, tuple(ATTACKS))
    torch.set_num_threads(1)  # before any is started: threads do not survive a fork
    chosen = [ATTACKS[name] for name in dict.fromkeys(only or ATTACKS)]
    with tempfile.TemporaryDirectory() as scratch:
        prepared = prepare(chosen, Path(scratch))
        cases = list(attack_all(prepared, range(seed, seed + rounds), Path(scratch), workers, keep))
    show(cases)
    print(machine("torch", "safetensors", "lmdb"))
    failures = [case for case in cases if case.outcome == FAILED]
    for case in failures:
        print(f"python -m verification.fuzz --rounds 1 --only {case.attack} --seed {case.seed}: {one_line(case.why)}")
    if failures:
        raise SystemExit(1)


def prepare(attacks: Iterable[Attack], scratch: Path) -> list[Prepared]:
    """Makes what the attacks damage, once for those that share it, and has it read as it is."""
    valid: dict[object, Path] = {}
    prepared = []
    attacks = list(attacks)
    with progress("preparing", len(attacks), "classes") as advance:
        for attack in attacks:
            if attack.make not in valid:
                valid[attack.make] = made(attack.make, scratch / "valid" / str(len(valid)))
            prepared.append(Prepared(attack, valid[attack.make], scratch / "first" / "box"))
            advance(1)
    return prepared


def attack_all(
    prepared: list[Prepared], seeds: range, scratch: Path, workers: int | None = None, keep: Path | None = None
) -> Iterator[Case]:
    """Tries a case of every attack with every seed, and yields them as they end, attack by attack."""
    tasks = [(number, seed) for number in range(len(prepared)) for seed in seeds]
    fork = multiprocessing.get_context("fork")  # from here, so that all that readers import is there
    with (
        progress("attacking", len(tasks), "cases") as advance,
        ProcessPoolExecutor(
            workers or available_cores(), mp_context=fork, initializer=_remember, initargs=(prepared,)
        ) as pool,
    ):
        for case in pool.map(partial(_try, scratch, keep), tasks, chunksize=_CASES_AT_ONCE):
            advance(1)
            yield case


_PREPARED: list[Prepared] = []
"""In the processes that try them."""


def _remember(prepared: list[Prepared]) -> None:
    _PREPARED.extend(prepared)


def _try(scratch: Path, keep: Path | None, task: tuple[int, int]) -> Case:
    number, seed = task
    box = scratch / f"of_{multiprocessing.current_process().pid}" / "box"
    case = _PREPARED[number].case(seed, box)
    if keep and case.outcome == FAILED:
        with suppress(shutil.Error):  # it copies no pipes, and says so at the end
            shutil.copytree(box, keep / f"{case.attack}_{seed}", symlinks=True, dirs_exist_ok=True)
    return case


def show(cases: list[Case]) -> None:
    """Prints the table."""
    table = Table("class", "cases", "refused clearly", "accepted and right", "failures", title="damaged and read")
    for column in table.columns[1:]:
        column.justify = "right"
    counts = Counter(
        (name, outcome) for case in cases for name in (case.attack, "all") for outcome in (case.outcome, "")
    )
    for name in [*dict.fromkeys(case.attack for case in cases), "all"]:
        table.add_row(name, *(f"{counts[name, outcome]:,}" for outcome in ("", REFUSED, ACCEPTED, FAILED)))
    Console(width=110).print(table)


if __name__ == "__main__":
    run(main)
