"""An own objective: a class of options in a file of the user's, known by its name once that file has been run."""

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any, TypeVar

from d2plm_megatron import own_code
from d2plm_megatron.config.objective import OBJECTIVES, Objective

DEFINED_IN = "defined_in"
"""Key of recipe.yaml beside an own objective's options."""

_BUILT_IN = frozenset(OBJECTIVES)
_KINDS = {kind for plain in (int, float, bool, str) for kind in (plain, plain | None)}
_FILES: dict[str, str] = {}

Kind = TypeVar("Kind", bound=type)


def register(kind: Kind) -> Kind:
    """Makes an own objective known by its name, for `objective=NAME`, recipes and checkpoints; a decorator.

        @register
        @dataclass(frozen=True, kw_only=True)
        class Mine(Objective):
            name: str = option("mine", "which objective this is")
            share: float = option(0.15, "of the residues", (0.0, 1.0))

            def build(self): ...            # what training needs: an object with corrupt and loss
            def build_process(self): ...    # what evaluation and generation need: see objectives/process.py

    docs/own_objective.md shows a whole one. A file that is run again takes its objective's old place.

    Raises ValueError, in one line, for a class that cannot work.
    """
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    file = Path(inspect.getfile(frame.f_back)).resolve()
    own_code.watch(file)
    name = _checked(kind)
    known = _FILES.get(name, str(file))
    is_taken = known != str(file) and Path(known).is_file()  # the file of an edited cell of a notebook is none
    if name in _BUILT_IN or is_taken:
        owner = "this package" if name in _BUILT_IN else known
        raise ValueError(f"{kind.__name__}.name={name}: {owner} has an objective of that name; choose another")
    OBJECTIVES[name], _FILES[name] = kind, str(file)
    return kind


def defined_in(objective: Objective) -> str | None:
    """The file of an own objective; None for those of this package."""
    return _FILES.get(objective.name)


def _checked(kind: Any) -> str:
    """The name of an own objective. Raises ValueError for the first thing in its class that cannot work."""
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise ValueError(
            f"{getattr(kind, '__name__', kind)}: must be a class derived from d2plm_megatron.config.Objective"
        )
    if "__dataclass_params__" not in vars(kind):
        raise ValueError(
            f"{kind.__name__}: write @dataclass(frozen=True, kw_only=True) between @register and the class"
        )
    types = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if item.default is dataclasses.MISSING or "help" not in item.metadata:
            raise ValueError(f'{kind.__name__}.{item.name}: write its value as option(DEFAULT, "what it means")')
        item.type = types[item.name]
        if item.type not in _KINDS:
            raise ValueError(
                f"{kind.__name__}.{item.name}: must be an int, a float, a bool or a str, or one of them or None"
            )
    if missing := [method for method in ("build", "build_process") if not hasattr(kind, method)]:
        raise ValueError(f"{kind.__name__}: there is no method {missing[0]}() in it")
    name = kind().name
    if not name.isidentifier():
        raise ValueError(
            f'{kind.__name__}.name={name}: give it a name like my_objective, as name: str = option("...", ...)'
        )
    return name
