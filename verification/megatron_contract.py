"""Whether the installed Megatron and torch have all that this package uses: `python -m verification.megatron_contract`.

What they make public is described in stubs/megatron, by which mypy checks our calls; the rest is listed in
d2plm_megatron/parallel/megatron/fragile.py. To be run before taking another version of either.
"""

import ast
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from d2plm_megatron.parallel.megatron.fragile import FRAGILE, Fragile

STUBS = Path(__file__).parents[1] / "stubs"
PLAIN = {"int", "float", "bool", "str"}
"""Types that are compared. Others are spelled in too many ways."""


def gone(item: Fragile) -> str:
    """In words, what the installed version lacks of a private thing; nothing if all is there."""
    told = f"{_version(item.owner)} has no {item}, which is for: {item.why}"
    try:
        owner = pkgutil.resolve_name(item.owner)
    except (ImportError, AttributeError):
        return told
    if not knows(owner, item.name):
        return told
    takes = inspect.signature(getattr(owner, item.name)).parameters if item.takes else {}
    return "".join(f"{told}: no parameter {name}" for name in item.takes if name not in takes)


def knows(owner: Any, name: str) -> bool:
    """Whether a module or class has an attribute, or its code gives it to instances or to others, or looks for it."""
    if hasattr(owner, name):
        return True
    classes = [kind for kind in owner.__mro__ if "megatron" in kind.__module__] if inspect.isclass(owner) else []
    if any(name in inspect.get_annotations(kind) for kind in classes):
        return True
    return any(name in _given(part) for part in classes or [owner])


@cache
def _given(code: Any) -> set[str]:
    """Attributes that the code of a module or class sets, and strings that stand alone in it, as keys do."""
    nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(code)))))
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return stored | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _version(path: str) -> str:
    module = path.replace(":", ".").partition(".")[0]
    distribution = {"megatron": "megatron-core"}.get(module, module)
    return f"{distribution} {metadata.version(distribution)}"


@dataclass(frozen=True)
class Parameter:
    """What a stub says of a parameter."""

    by_keyword: bool
    optional: bool
    annotation: str


def declarations() -> Iterator[tuple[str, ast.stmt]]:
    """The public functions, classes and variables of the stubs, each by its module:name."""
    for path in sorted(STUBS.rglob("*.pyi")):
        module = ".".join(path.relative_to(STUBS).with_suffix("").parts).removesuffix(".__init__")
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        calls = {node.name: node.body[0] for node in nodes if isinstance(node, ast.ClassDef)}
        for node in nodes:
            if isinstance(node, ast.AnnAssign):  # of a plain type, or of a protocol, which says how it is called
                yield f"{module}:{ast.unparse(node.target)}", calls.get(ast.unparse(node.annotation), node)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module}:{node.name}", node


def untrue(path: str, node: ast.stmt) -> list[str]:
    """What a stub says of a function, class or variable, in words, that the installed version does not keep."""
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError):
        return [f"{_version(path)} has no {path}"]
    where = f"{_version(path)}: {path}"
    if isinstance(node, ast.FunctionDef):
        said = {name: parameter for name, parameter in _parameters(node).items() if name != "self"}
        return [f"{where} {text}" for text in _differences(said, inspect.signature(found))]
    return list(_untrue_of_class(where, node, found)) if isinstance(node, ast.ClassDef) else []


def _untrue_of_class(where: str, node: ast.ClassDef, found: type) -> Iterator[str]:
    attributes = {ast.unparse(item.target): item for item in node.body if isinstance(item, ast.AnnAssign)}
    yield from (f"{where} has no attribute {name}" for name in attributes if not knows(found, name))
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = {
            name: Parameter(True, item.value is not None, ast.unparse(item.annotation))
            for name, item in attributes.items()
        }
        yield from (f"{where} {text}" for text in _differences(fields, inspect.signature(found)))
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            if not hasattr(found, item.name):
                yield f"{where} has no method {item.name}"
                continue
            real = inspect.signature(getattr(found, item.name))
            yield from (f"{where}.{item.name} {text}" for text in _differences(_parameters(item), real))


def _parameters(node: ast.FunctionDef) -> dict[str, Parameter]:
    """In their order."""
    positional, keyword = node.args.args, node.args.kwonlyargs
    defaults = [None] * (len(positional) - len(node.args.defaults)) + node.args.defaults + node.args.kw_defaults
    return {
        arg.arg: Parameter(arg in keyword, default is not None, ast.unparse(arg.annotation) if arg.annotation else "")
        for arg, default in zip([*positional, *keyword], defaults, strict=True)
    }


def _differences(said: dict[str, Parameter], real: inspect.Signature) -> Iterator[str]:
    for name, item in real.parameters.items():
        variadic = item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        if item.default is item.empty and not variadic and name not in said:
            yield f"needs {name}"
    for place, (name, parameter) in enumerate(said.items()):
        if name not in real.parameters:
            yield f"has no parameter {name}"
            continue
        item = real.parameters[name]
        if not parameter.by_keyword and list(real.parameters)[place] != name:
            yield f"has {name} at another place"
        if parameter.optional != (item.default is not item.empty):
            yield f"has {name} {'without' if parameter.optional else 'with'} a default"
        if parameter.annotation.removesuffix(" | None") in PLAIN and item.annotation is not item.empty:
            kind = re.sub(r"^(?:typing\.)?Optional\[(\w+)\]$", r"\1 | None", inspect.formatannotation(item.annotation))
            if kind.strip("'") != parameter.annotation:
                yield f"has {name}: {kind}"


def main() -> int:
    """Prints all that is lacking; returns how much that is."""
    lacking = [text for item in FRAGILE if (text := gone(item))]
    lacking += [text for path, node in declarations() for text in untrue(path, node)]
    print("\n".join(lacking) or f"{_version('megatron')} and {_version('torch')} have all that is used of them")
    return min(len(lacking), 1)


if __name__ == "__main__":
    sys.exit(main())
