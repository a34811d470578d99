"""The folder of a sweep: OUTPUT/NAME/sweep.json says which points it has, and each point is a run in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.beginning import begun

from .points import NOT_SWEPT, expand

NAME = "sweep.json"
SUFFIX = "-sweep"
"""Of the folder where no name= is given: that of the recipe is for a run of its own."""

_SCHEMA = {"recipe": str, "overrides": [str], "points": {str: {str: str}}}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep.

    Attributes:
        name: of the point, and of its run's folder.
        values: of the swept keys, as texts.
        overrides: all that make this run of the recipe, its folder among them.
        recipe: of the run.
    """

    name: str
    values: Mapping[str, str]
    overrides: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What was asked for.

    Attributes:
        folder: of the sweep.
        recipe: its name or file, as it was given.
        overrides: likewise, the last time.
        points: the values of the swept keys of each point that was ever asked for, by the point's name.
    """

    folder: Path
    recipe: str
    overrides: tuple[str, ...]
    points: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, folder: Path) -> "Sweep | None":
        """From sweep.json; None where there is none. Raises Damaged, a ValueError, when it is not as it was written."""
        path = folder / NAME
        if not path.exists():
            return None
        found = integrity.read_sealed(path, _SCHEMA)
        return cls(folder=folder, recipe=found["recipe"], overrides=(*found["overrides"],), points=found["points"])

    def write(self) -> None:
        """Writes sweep.json, with the points that are in it already: a sweep that has grown is still the same.

        Raises ValueError where the folder is that of a run.
        """
        if (self.folder / "recipe.yaml").exists():
            raise ValueError(f"{self.folder}: is the folder of a run, not of a sweep; choose another name=")
        before = Sweep.read(self.folder)
        points = {**(before.points if before else {}), **self.points}
        values = {"recipe": self.recipe, "overrides": list(self.overrides), "points": points}
        integrity.write_sealed(self.folder / NAME, values)


def plan(named: str, recipe: Recipe, overrides: Sequence[str], base: str = "") -> tuple[Sweep, list[Point]] | None:
    """The sweep that overrides ask for, and its points in their order; None where nothing is swept.

    Args:
        named: the recipe as the user named it.
        recipe: the recipe.
        overrides: as typed; name= and output= are those of the sweep's folder.
        base: folder from which output= is seen.

    Raises ValueError for the first point that cannot be, with its name.
    """
    expanded = expand(overrides)
    if expanded[0][0] == "":
        return None
    of_folder = [given for given in overrides if given.partition("=")[0] in NOT_SWEPT]
    whole = resolve(recipe, of_folder)
    whole = begun(replace(whole, output=str(Path(base, whole.output))))
    has_name = any(given.startswith("name=") for given in of_folder)
    folder = Path(whole.output, whole.name if has_name else whole.name + SUFFIX)
    points = [_point(recipe, folder, name, changes, overrides) for name, changes in expanded]
    values = {point.name: point.values for point in points}
    return Sweep(folder=folder, recipe=named, overrides=(*overrides,), points=values), points


def _point(recipe: Recipe, folder: Path, name: str, changes: Sequence[str], asked: Sequence[str]) -> Point:
    kept = [change for change in changes if change.partition("=")[0] not in NOT_SWEPT]
    values = dict(change.split("=", 1) for change in kept if change not in asked)
    whole = (*kept, f"output={folder}", f"name={name}")
    try:
        return Point(name=name, values=values, overrides=whole, recipe=resolve(recipe, whole))
    except ValueError as error:
        raise ValueError(f"{name}, a point of the sweep: {error}") from error
