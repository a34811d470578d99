"""README names every file, so that a newcomer finds each room, and counts every model right."""

import importlib
from pathlib import Path

import pytest

from d2plm_megatron.sizing import num_parameters

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = README.partition("## The tree")[2].partition("\n## ")[0]
FOLDERS = ("recipes", "d2plm_megatron", "data_tools", "benchmarks")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if path.stem != "__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_has_a_line(path: Path) -> None:
    room = f"{path.parent.name}/"
    assert room in TREE
    lines = TREE.partition(f"\n{room}" if path.parent.parent == ROOT else f"\n  {room}")[2].splitlines()[1:]
    depth = len(path.relative_to(ROOT).parts) - 1
    inside = [line for line in lines if line.startswith("  " * depth) and line[2 * depth] != " "]
    named = next((line for line in inside if line.split()[0] == path.name), "")
    assert len(named.split()) > 2, f"README's tree needs a line for {path.relative_to(ROOT)}"


def test_no_line_is_left_of_a_file_that_has_gone() -> None:
    first_words = {line.split()[0] for line in TREE.splitlines() if line.strip()}
    assert {word for word in first_words if word.endswith(".py")} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_parameters_of_every_recipe_are_those_of_the_table(path: Path) -> None:
    recipe = importlib.import_module(f"recipes.{path.stem}").recipe()
    section = README.partition("## Recipes")[2].partition("\n### ")[0]
    [row] = [line for line in section.splitlines() if line.startswith("|") and f"`{path.stem}`" in line]
    assert f"{num_parameters(recipe.model):,}" in row
