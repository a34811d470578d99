"""Files and functions stay small enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("recipes", "d2plm_megatron", "data_tools", "launchers", "verification", "benchmarks", "docs")
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


def too_long(path: Path) -> Iterator[str]:
    """What is longer than it may be: the file, or a function, from its decorators to its last line."""
    text = path.read_text(encoding="utf-8")
    if (length := len(text.splitlines())) > LONGEST_FILE:
        yield f"{path}: {length} lines; {LONGEST_FILE} are the most"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if (length := (node.end_lineno or first) - first + 1) > LONGEST_FUNCTION:
                yield f"{path}, line {first}: {node.name} has {length} lines; {LONGEST_FUNCTION} are the most"


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room).is_dir()])
def test_no_file_and_no_function_is_too_long(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    assert not [found for path in paths for found in too_long(path)]


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("@decorated\ndef f():\n" + "    x = 1\n" * 39 + "\n" * 260)
    assert list(too_long(path)) == [
        f"{path}: 301 lines; 300 are the most",
        f"{path}, line 1: f has 41 lines; 40 are the most",
    ]
    path.write_text("class C:\n    @decorated\n    async def f():\n" + "        x = 1\n" * 38 + "\n" * 259)
    assert not list(too_long(path))
