"""The tree has a line for every file, so that a newcomer finds each room, and README counts every model right."""

import importlib
import runpy
from pathlib import Path

import pytest

from d2plm_megatron.config.sizing import num_parameters

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tree_has_the_line_of_every_file() -> None:
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))["tree"]()
    assert (ROOT / "docs" / "tree.md").read_text(encoding="utf-8") == tree, "python docs/tree.py writes it anew"
    assert [line for line in tree.splitlines() if len(line.split()) == 1] == ["```", "```"], "a docstring is missing"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_parameters_of_every_recipe_are_those_of_the_table(path: Path) -> None:
    recipe = importlib.import_module(f"recipes.{path.stem}").recipe()
    section = README.partition("## Recipes")[2].partition("\n## ")[0]
    [row] = [line for line in section.splitlines() if line.startswith("|") and f"`{path.stem}`" in line]
    assert f"{num_parameters(recipe.model):,}" in row
