"""python -m d2plm_megatron: what there is to run, command by command."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("data_tools", "recipes", "d2plm_megatron", "verification", "benchmarks")
"""In the order of their use."""

_CALL_OF_A_COMMAND = re.compile(r"^ +(run\(\w|main\(recipe\))", re.MULTILINE)


def commands() -> Iterator[tuple[str, str]]:
    """(how to call it, what it does) of everything that is there, read from docstrings without importing it."""
    for package in PACKAGES:
        found = find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(Path(folder).rglob("*.py")):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                if path != Path(__file__) and (says := _what_it_does(tree)):
                    yield _call(package, path.relative_to(folder)), says


def _call(package: str, path: Path) -> str:
    if package == "recipes":
        return f"python recipes/{path}"
    parts = [part for part in path.with_suffix("").parts if part != "__main__"]
    return f"python -m {'.'.join([package, *parts])}"


def _what_it_does(tree: ast.Module) -> str | None:
    """The first line of what explains a command to its users, as --help does; None of a module that is no command."""
    if not tree.body or not _CALL_OF_A_COMMAND.search(ast.unparse(tree.body[-1])):
        return None
    functions = {node.name: ast.get_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    said = functions.get("recipe") or functions.get("main") or ast.get_docstring(tree)
    return said.splitlines()[0] if said else None


def main() -> None:
    """Prints the index."""
    rows = list(commands())
    width = max(len(call) for call, _ in rows)
    print("\n".join(f"{call:{width}}  {says}" for call, says in rows))
    print("\nEach explains its options with --help.")


if __name__ == "__main__":
    main()
