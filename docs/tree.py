"""Writes docs/tree.md: rooms and files by their docstrings' first lines, and by "New here:" what else belongs there.

`python docs/tree.py`; a test compares.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tree.md"
ROOMS = {
    "recipes": "WHICH run: a file each\nNew here: a run, a variant of one.",
    "d2plm_megatron": "HOW: the package",
    "data_tools": "BEFORE training: no GPU, no torch\nNew here: a command that makes data.",
    "launchers": "WHERE it runs: here, on Slurm, in containers\nNew here: a kind of cluster, a task, a plugin.",
    "verification": "Each proves a claim by trying it\nNew here: a claim, a layout (layouts.py).",
    "benchmarks": "Each prints a table, measured in one run\nNew here: what others do, to be compared with.",
}
OTHER_KINDS = {
    "page.html": "The template of the report",
    "overlay.html": "The template of d2plm metrics plot",
    "sweep.html": "The template of d2plm sweep show",
    "ancestors.fasta": "Thirteen well-known proteins, the ancestors of the simulated families",
    "ngc.sh": "Runs a command in the container image on the GPUs of this machine",
}
WIDTH = 31


def tree() -> str:
    """The page as it should be."""
    lines = [line for room, text in ROOMS.items() for line in _room(ROOT / room, 0, text)]
    return "\n".join(["# The tree", "", "Written by `python docs/tree.py`.", "", "```", *lines, "```", ""])


def _room(folder: Path, depth: int, docstring: str) -> Iterator[str]:
    yield _line(depth, f"{folder.name}/", _first_line(docstring))
    if new := re.search(r"^New here: (.+)\.$", docstring, re.MULTILINE):
        yield _line(0, "", f"NEW HERE: {new[1]}")
    files = [path for path in folder.iterdir() if path.is_file() and path.stem != "__init__"]
    for path in sorted(path for path in files if path.suffix == ".py" or path.name in OTHER_KINDS):
        yield _line(depth + 1, path.name, OTHER_KINDS.get(path.name) or _first_line(_docstring(path)))
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        yield from _room(inner, depth + 1, _docstring(inner / "__init__.py"))


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _first_line(docstring: str) -> str:
    return docstring.partition("\n")[0].removesuffix(".")


def _line(depth: int, name: str, text: str) -> str:
    return f"{'  ' * depth}{name}".ljust(WIDTH) + text


if __name__ == "__main__":
    PAGE.write_text(tree(), encoding="utf-8")
