"""How a field is described, and how a value that cannot work is refused: by the key as a user would type it."""

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import field
from typing import Any


def option(default: Any, text: str, allowed: tuple[Any, ...] | None = None) -> Any:
    """A field with a default and a help text.

    Args:
        default: of the field.
        text: for --help.
        allowed: of a number the lowest and the highest; of a text its words, where not every text will do.
    """
    return field(default=default, metadata={"help": text, "allowed": allowed})


def check_options(part: Any, prefix: str = "") -> None:
    """Raises ValueError for the first field of a dataclass whose value is not allowed, named with its prefix.

    A text must be one line that is not empty, so that it can stand in a path, a log or a message.
    """
    for item in dataclasses.fields(part):
        value, allowed = getattr(part, item.name), item.metadata.get("allowed")
        key = prefix + item.name
        if isinstance(value, str):
            _one_printable_line(key, value)
            if allowed:
                one_of(key, value, allowed)
        elif allowed and value is not None:
            between(key, value, *allowed)


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError, with the nearest allowed word, unless value is one of them."""
    if value not in allowed:
        near = nearest(str(value), allowed)
        hint = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{_typed(key, value)}: allowed are {', '.join(allowed)}{hint}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that may have been meant; None where none is alike."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def at_least(key: str, value: float | None, minimum: float) -> None:
    """Raises ValueError unless value is None or at least the minimum."""
    if value is not None and not value >= minimum:
        raise ValueError(f"{_typed(key, value)}: must be at least {minimum}")


def between(key: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{_typed(key, value)}: must lie between {low:,} and {high:,}")


def nearest_multiple(number: int, unit: int) -> int:
    """The multiple of unit, at least one, that lies nearest to a number."""
    return max(1, round(number / unit)) * unit


def _typed(key: str, value: object) -> str:
    """An option of a command, or the key of a recipe, with its value as a user types them."""
    return f"{key} {value}" if key.startswith("--") else f"{key}={value}"


def _one_printable_line(key: str, value: str) -> None:
    if not value:
        raise ValueError(f"{key}=: must not be empty")
    if not value.isprintable():
        raise ValueError(f"{key}={value!r}: must be one line of characters that print")
