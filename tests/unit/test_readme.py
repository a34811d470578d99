"""README's tree names every file, so that a newcomer finds each room."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2].partition("\n## ")[0]
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
