"""Hydra's grammar: the value that a text stands for, or the values of a sweep, such as 1e-4,3e-4 or range(1,5)."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

MOST_VALUES = 1000
"""Of one sweep: what asks for more was not meant, or would not end."""


def parsed_value(text: str) -> Any:
    """The value that Hydra's grammar finds in a text; the text itself where that is none, or several."""
    override = _parsed(text)
    return text if override is None or override.is_sweep_override() else override.value()


def swept_values(text: str, names: Sequence[str] = ()) -> list[str] | None:
    """The values of a sweep, each as a text that stands for it in the same grammar; None where the text is no sweep.

    Args:
        text: what stands behind key=.
        names: that the key can have, among which glob(PATTERN) chooses.

    Raises ValueError for a sweep that names no values (an interval, a pattern without names, an empty range), or more
    than 1,000.
    """
    from hydra.errors import HydraException

    override = _parsed(text)
    if override is None or not override.is_sweep_override():
        return None
    try:
        values = _values(override, names)
    except HydraException:  # an interval, or a range with a step of 0
        values = []
    if not values:
        raise ValueError("there are no values in it; write them as A,B or range(FIRST,END,STEP)")
    if len(values) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    return values


def _values(override: Any, names: Sequence[str]) -> list[str]:
    from hydra.core.override_parser.types import Glob, RangeSweep

    sweep = override.value()
    if isinstance(sweep, Glob):
        return sweep.filter(list(names))
    numbers = _exact(sweep).range() if isinstance(sweep, RangeSweep) else override.sweep_iterator()
    return [_text_of(value) for value in islice(numbers, MOST_VALUES + 1)]


def _exact(sweep: Any) -> Any:
    """A range whose numbers are those that were typed, so that range(0.1,0.4,0.1) ends where it says."""
    numbers = {name: getattr(sweep, name) for name in ("start", "stop", "step")}
    if all(isinstance(number, int) for number in numbers.values()):
        return sweep
    return replace(sweep, **{name: Decimal(str(number)) for name, number in numbers.items()})


def _text_of(value: Any) -> str:
    from hydra.core.override_parser.types import Transformer

    if isinstance(value, bool):
        return str(value).lower()
    return _shortest(repr(value)) if isinstance(value, float) else str(Transformer.str(value))


def _shortest(number: str) -> str:
    """A number as people write it: 1e-4 for 0.0001, 100 for 100.0."""
    exact = Decimal(number).normalize()
    return min(f"{exact:f}", f"{exact:e}", key=len) if exact.is_finite() else number


def _parsed(text: str) -> Any:
    """Hydra's override of a key to a text; None where its grammar does not take the text."""
    from hydra.errors import HydraException

    try:
        return _parser().parse_override(f"key={text}")
    except (HydraException, ValueError, RecursionError):  # ValueError: a number of too many digits
        return None


@cache
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser  # slow, and not every command parses

    return OverridesParser.create()
