"""Runs Python files of users, such as one with an own objective, and names their line in errors.

Nothing that a run, a checkpoint or a recipe.yaml says is ever imported. Only the recipe that is run is, and the files
that D2PLM_IMPORT names, with colons between them.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType

VARIABLE = "D2PLM_IMPORT"
TRACEBACK_VARIABLE = "D2PLM_TRACEBACK"

_files: set[Path] = set()
_loaded: dict[Path, ModuleType] = {}


def watch(file: Path) -> None:
    """From now on errors that pass through a file are told with its line; those of a script as it is run, too."""
    _files.add(file.resolve())
    if sys.excepthook is sys.__excepthook__ and _is_the_script(file):
        sys.excepthook = _one_line


def load_named() -> None:
    """Runs the files that D2PLM_IMPORT names, each once. Raises ValueError, with the line of the file, for an error."""
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        path = Path(name).resolve()
        if path not in _loaded and not _is_the_script(path):
            _loaded[path] = _run(path)


def _run(path: Path) -> ModuleType:
    name = f"d2plm_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"{VARIABLE}={path}: there is no such Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    watch(path)
    with beside(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def beside(path: Path) -> Iterator[None]:
    """Modules beside a file can be imported while it is run, as when python runs it."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def told(error: BaseException) -> str | None:
    """What is wrong, with the user's file and the last line in it that was reached; None where none was.

    A ValueError that a check of options raises, in __post_init__, tells all by itself: it is the value that is wrong.
    """
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() in _files]
    if not frames or (isinstance(error, ValueError) and frames[-1].name == "__post_init__"):
        return None
    text = words(error)
    where = f"{frames[-1].filename}, line {frames[-1].lineno}"
    return text if text.startswith(f"{frames[-1].filename}, line ") else f"{where}: {text}"


def words(error: BaseException) -> str:
    """What is wrong; of what nobody meant to be read, with its kind."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _is_the_script(file: Path) -> bool:
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve() == file.resolve()


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = None if os.environ.get(TRACEBACK_VARIABLE) else told(error)
    if text is None or not isinstance(error, Exception):
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
