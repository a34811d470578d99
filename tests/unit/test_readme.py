"""The tree has a line for every file, so that a newcomer finds each room."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tree_has_the_line_of_every_file() -> None:
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))["tree"]()
    assert (ROOT / "docs" / "tree.md").read_text(encoding="utf-8") == tree, "python docs/tree.py writes it anew"
    assert [line for line in tree.splitlines() if len(line.split()) == 1] == ["```", "```"], "a docstring is missing"
