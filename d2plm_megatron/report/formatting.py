"""Numbers as people write them."""

import math
from collections.abc import Mapping

from d2plm_megatron.evaluation.samples.verdict import Measure
from d2plm_megatron.report.judgement_record import Cell

OBJECTIVES = {
    "absorbing": "absorbing diffusion",
    "flow_matching": "discrete flow matching",
    "metric_flow": "metric flow matching",
    "mlm": "masked language modelling",
}


LIKELIHOODS = {
    "elbo": "ELBO",
    "masked_15": "at 15% masks",
    "masked_15_80_10_10": "at 15% as ESM-2 masks them",
    "pseudo": "pseudo-perplexity",
}
"""What is measured, as people call it; others by their own names."""


def objective(name: str) -> str:
    """An objective as people call it: by its own name, where it is not one of those above."""
    return OBJECTIVES.get(name, name.replace("_", " "))


def with_error(value: float | None, error: float | None) -> str:
    """A value and its standard error, rounded to two digits of the error; without one, two digits after the point.

    None is an infinite value, as JSON has it.
    """
    if value is None:
        return "infinite"
    if not error or not math.isfinite(error):
        return f"{value:.2f}"
    digits = min(max(1 - math.floor(math.log10(error)), 0), 6)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def cell(measure: Measure, found: Cell | None) -> str:
    """A measure in a column; nothing where the column lacks it."""
    return "" if found is None else measure.shown(found.value)


def half_width(measure: Measure, found: Cell | None) -> str:
    """Half of its 95% interval; nothing where it has none, or has no width."""
    if found is None or found.low is None or found.high is None or found.low == found.high:
        return ""
    return measure.shown((found.high - found.low) / 2)


def in_words(number: int) -> str:
    """A count, in full below a million and to three digits above."""
    if number < 999_500:
        return f"{number:,}"
    name, unit = next((name, unit) for name, unit in _UNITS if number >= 0.9995 * unit)
    scaled = number / unit
    return f"{scaled:,.{max(0, 2 - math.floor(math.log10(scaled) + 0.001))}f} {name}"


def of_checkpoints(steps: Mapping[str, int]) -> str:
    """Which checkpoint each part of a report is from: "evaluation and samples from step 75"."""
    parts: dict[int, list[str]] = {}
    for what, step in steps.items():
        parts.setdefault(step, []).append(what)
    return ", ".join(f"{' and '.join(names)} from step {step:,}" for step, names in parts.items())


def percent(share: float) -> str:
    """A share as whole per cent, with a space that does not break; nothing less than 1 is written as 100."""
    return f"{100 if share == 1 else min(round(100 * share), 99)}\N{NO-BREAK SPACE}%"


_UNITS = (("trillion", 10**12), ("billion", 10**9), ("million", 10**6))
