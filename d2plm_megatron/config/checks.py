"""How a field is described, and how a value that cannot work is refused: by the key as a user would type it."""

import difflib
from dataclasses import field
from typing import Any


def option(default: Any, text: str) -> Any:
    """A field with a default and a help text."""
    return field(default=default, metadata={"help": text})


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError, with the nearest allowed word, unless value is one of them."""
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{key}={value}: allowed are {', '.join(allowed)}{hint}")


def at_least(key: str, value: float | None, minimum: float) -> None:
    """Raises ValueError unless value is None or at least the minimum."""
    if value is not None and not value >= minimum:
        raise ValueError(f"{key}={value}: must be at least {minimum}")


def between(key: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{key}={value}: must lie between {low} and {high}")
