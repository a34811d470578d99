"""What importing Megatron would bring along and nobody here calls."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_UNUSED = ("wandb",)
"""Which Megatron's inference server writes to. It does without what is missing."""


@contextmanager
def spared() -> Iterator[None]:
    """Where there is no GPU, leaves what is decorated with torch.compile as it is, so that no compiler is imported.

    Modules that are not used are missing for as long, unless somebody has imported them already.
    """
    absent = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how Python says missing
    compiler = torch.compile
    if not torch.cuda.is_available():
        setattr(torch, "compile", _as_it_is)  # noqa: B010  (its type has overloads, which this has not)
    try:
        yield
    finally:
        setattr(torch, "compile", compiler)  # noqa: B010
        for name in absent:
            del sys.modules[name]


def _as_it_is(function: Callable | None = None, **options: Any) -> Callable:
    return function if function is not None else lambda decorated: decorated
