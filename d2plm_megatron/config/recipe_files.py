"""Recipes in files: found by name, run, and varied; what is wrong in one is told with its file and line."""

import difflib
import inspect
import linecache
import runpy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from d2plm_megatron import own_code
from d2plm_megatron.config.overrides import from_yaml, resolve
from d2plm_megatron.config.recipe import Recipe

NONE_GIVEN = "give a recipe's name (d2plm recipes lists them), a recipe's Python file, or --from recipe.yaml"

_PACKAGE = Path(__file__).parents[1]


class RecipeError(ValueError):
    """What is wrong in the file of a recipe: begins with the file and the line."""


def vary(parent: str, *changes: str, name: str) -> Recipe:
    """A recipe that is its parent but for some lines.

    Args:
        parent: name of a recipe whose file lies beside the caller's or comes with the package, or the path of a file,
            seen from the caller's folder.
        changes: as on the command line, for example "train.max_steps=1200", or "objective=mlm" to choose from a group.
        name: of the new recipe, and so of the folder of its run.

    Raises ValueError for what cannot work, with the line of the caller's file where it is written.
    """
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    caller = inspect.getframeinfo(frame.f_back)
    try:
        return resolve(build(load(find(parent, Path(caller.filename)))), [*changes, f"name={name}"])
    except RecipeError:
        raise
    except (ValueError, OSError) as error:
        at_fault = [change for change in changes if str(error).startswith(change.partition("=")[0])] or [parent]
        raise RecipeError(f"{caller.filename}, line {_line_of(at_fault[0], caller)}: {error}") from error


def chosen(words: Sequence[str], saved: Path | None) -> tuple[Recipe | None, list[str]]:
    """What the words of a command line ask for: (the recipe, where one is named; the changes to it).

    Args:
        words: a recipe's name or Python file, and changes as key=value.
        saved: recipe.yaml, or the folder of a run that has one, to take the recipe from instead.
    """
    names = [word for word in words if "=" not in word or Path(word).is_file()]
    changes = [word for word in words if word not in names]
    if len(names) > (saved is None):
        raise ValueError(f"{names[-1]}: the recipe is {saved or names[0]} already; changes are written as key=value")
    if saved is not None:
        return from_yaml(saved / "recipe.yaml" if saved.is_dir() else saved), changes
    return (build(load(_file_of(names[0]))) if names else None), changes


def build(recipe: Callable[[], Recipe]) -> Recipe:
    """The recipe that a function returns. Raises ValueError with the function's file and line where it fails."""
    path = recipe.__code__.co_filename
    with _told_with_line(path):
        built = recipe()
        if not isinstance(built, Recipe):
            raise ValueError(f"{path}: recipe() must return a Recipe, and not {type(built).__name__}")
        return built


def load(path: Path) -> Callable[[], Recipe]:
    """The function `recipe` of a file, which is run. Raises ValueError with the file and line where that fails."""
    with _told_with_line(str(path)), own_code.beside(path):
        recipe = runpy.run_path(str(path)).get("recipe")
    if not inspect.isfunction(recipe):
        raise ValueError(f"{path}: there is no function recipe() in it that returns a Recipe")
    return recipe


def find(name: str, asking: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        name: of a recipe, or the path of a file that ends in .py.
        asking: the file that names it, whose neighbours come before the recipes of the package, and from whose folder
            paths are seen; None for the working directory, where only paths are looked for.

    Raises ValueError, with the nearest name, where there is no such file.
    """
    if name.endswith(".py"):
        path = (asking.parent if asking else Path()) / name
        if path.is_file():
            return path
        raise ValueError(f"{name}: no such file")
    candidates = {path.stem: path for path in shipped()}
    if asking is not None:
        candidates |= {path.stem: path for path in _recipes_in(asking.parent) if not _is_same(path, asking)}
    if name in candidates:
        return candidates[name]
    near = difflib.get_close_matches(name.lower(), candidates, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(candidates))}"
    raise ValueError(f"{name}: no such recipe; {hint}")


def shipped() -> Sequence[Path]:
    """The recipes that come with the package: inside it where it was installed, beside it in a checkout."""
    return _recipes_in(_PACKAGE / "recipes") or _recipes_in(_PACKAGE.parent / "recipes")


def _file_of(name: str) -> Path:
    if Path(name).suffix in (".yaml", ".yml"):
        raise ValueError(f"{name}: is a saved recipe; write --from {name}")
    return find(name)


def _recipes_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))


def _is_same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


@contextmanager
def _told_with_line(path: str) -> Iterator[None]:
    """Names the file, and the last line in it that was reached, in what is raised."""
    own_code.watch(Path(path))
    try:
        yield
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(own_code.told(error) or own_code.words(error)) from error


def _line_of(text: str, call: inspect.Traceback) -> int:
    """Where a text stands in a call of several lines; the call's own line where it is not found as it stands."""
    first = call.lineno if call.positions is None else call.positions.lineno or call.lineno
    last = first if call.positions is None else call.positions.end_lineno or first
    found = (number for number in range(first, last + 1) if text in linecache.getline(call.filename, number))
    return next(found, first)
