"""Proteins asked about in one call and one by one: how far apart the answers are, and what either costs.

    python -m benchmarks.asking runs/demo

Random proteins, as it makes no difference to the arithmetic. On one thread, in seconds of CPU, of which a busy machine
takes as many.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.machine import machine
from d2plm_megatron.console import run, show
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

SHORTEST, LONGEST = 60, 180
"""Residues."""


def main(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint, or of a run (its best checkpoint)")],
    proteins: Annotated[int, typer.Option(min=2, help="to ask about")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="of which the median is shown")] = 3,
) -> None:
    """Prints a row for each method of a trained model."""
    torch.set_num_threads(1)
    asked = random_letters(proteins)
    table = Table(title=f"{proteins} proteins of {SHORTEST} to {LONGEST} residues")
    for column in ("method", "largest", "alone", "in reverse order", "one call, CPU s", "one by one, CPU s"):
        table.add_column(column, justify="left" if column == "method" else "right")
    with TrainedModel.open(checkpoint) as model:
        model.embed(asked)
        for ask in (model.embed, model.log_probs, model.perplexity):
            table.add_row(ask.__name__, *compared(ask, asked, repeats))
    show(table, width=110)
    print("alone, in reverse order: the largest difference from the answers to one call")
    print(machine("d2plm-megatron", "torch", "megatron-core"))


def random_letters(number: int) -> list[str]:
    """Proteins of canonical residues, always the same."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(SHORTEST, LONGEST + 1, number)
    return ["".join(generator.choice(list(CANONICAL_LETTERS), length)) for length in lengths]


def compared(ask: Callable[[list[str]], list[Any]], proteins: list[str], repeats: int) -> list[str]:
    """The cells of a row."""
    together, in_one = timed(lambda: ask(proteins), repeats)
    alone, one_by_one = timed(lambda: [ask([protein])[0] for protein in proteins], repeats)
    apart = (difference(together, other) for other in (alone, ask(proteins[::-1])[::-1]))
    largest = max(float(np.abs(answer).max()) for answer in map(np.asarray, together))
    return [f"{largest:.3g}", *(f"{value:.1e}" for value in apart), f"{in_one:.2f}", f"{one_by_one:.2f}"]


def timed(call: Callable[[], list[Any]], repeats: int) -> tuple[list[Any], float]:
    """What a call gives, and the seconds of CPU that it takes."""
    seconds, found = [], []
    for _ in range(repeats):
        begin = time.process_time()
        found = call()
        seconds.append(time.process_time() - begin)
    return found, median(seconds)


def difference(found: list[Any], other: list[Any]) -> float:
    """The largest between two lists of answers."""
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(found, other, strict=True))


if __name__ == "__main__":
    run(main)
