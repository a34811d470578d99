"""The table of objectives: means over seeds, with their spread, beside n-grams."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from d2plm_megatron.console import show
from verification.objectives.trials import Trial

Numbers = dict[str, Any]
MASKED = ("masked_15", "masked_15_80_10_10")


def _likelihood(numbers: Numbers, *names: str) -> float | None:
    found = numbers["evaluation"]["likelihoods"]
    return next((found[name]["perplexity"] for name in names if name in found), None)


def _judged(numbers: Numbers, measure: str, of: str = "samples") -> float | None:
    found: float | None = numbers.get("judge", {}).get("measures", {}).get(measure, {}).get(of, {}).get("value")
    return found


JUDGED = {
    "samples, n-gram judge": "ngram_perplexity",
    "samples, model judge": "model_perplexity",
    "entropy": "token_entropy",
}
"""Of what `judge` measures what is shown, of samples and of natural proteins."""

COLUMNS: dict[str, Callable[[Numbers], float | None]] = {
    "ELBO perplexity": lambda numbers: _likelihood(numbers, "elbo"),
    "masked 15%": lambda numbers: _likelihood(numbers, *MASKED),
    **{title: partial(_judged, measure=measure) for title, measure in JUDGED.items()},
    "evaluations": lambda numbers: numbers.get("sampling", {}).get("evaluations"),
}
"""Of each trial's numbers what is shown."""


def print_table(title: str, trials: Sequence[Trial]) -> None:
    """Prints mean and standard deviation over seeds of each kind of trial, beside natural proteins and n-grams."""
    numbers = {trial: trial.numbers() for trial in trials}
    first = next(iter(numbers.values()))
    table = Table(title=title)
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in dict.fromkeys(trial.row for trial in trials):
        own = [numbers[trial] for trial in trials if trial.row is row]
        table.add_row(row.name, *(_over_seeds([read(one) for one in own]) for read in COLUMNS.values()))
    natural = [_over_seeds([_judged(first, measure, "natural")]) for measure in JUDGED.values()]
    table.add_row("natural proteins", "", "", *natural, "")
    for name, floor in first["evaluation"]["floors"].items():
        table.add_row(name, f"{math.exp(floor['nats_per_residue']):.3f}", *[""] * (len(COLUMNS) - 1))
    show(table, width=140)


def _over_seeds(values: Sequence[float | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return ""
    return f"{fmean(found):.3f}" + (f" +- {stdev(found):.3f}" if len(found) > 1 else "")
