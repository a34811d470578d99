"""What we use of Megatron and torch, though it is promised to nobody, is there; and only the door uses it."""

import ast
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from megatron.core.optimizer import DistributedOptimizer

import d2plm_megatron
from d2plm_megatron.parallel.megatron.cuda_on_cpu import _answers, _megatron_answers
from d2plm_megatron.parallel.megatron.fragile import FRAGILE, Fragile

PACKAGE = Path(d2plm_megatron.__file__).parent
DOOR = PACKAGE / "parallel" / "megatron"
NAMES = {item.name for item in FRAGILE}
ALSO_OURS = {"main_param", "optimizer", "sequence_parallel"}
"""Names that something of ours bears as well, so that to find them elsewhere says nothing."""
NOT_THEIRS = {("compression.py", "_replace"), ("overrides.py", "_get_node")}
"""Of a named tuple and of OmegaConf."""


def gone(item: Fragile) -> str:
    """In words, what the installed version lacks; nothing if all is there."""
    package = {"megatron": "megatron-core"}.get(item.owner.partition(".")[0], item.owner.partition(".")[0])
    told = f"{package} {metadata.version(package)} has no {item}, which is for: {item.why}"
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
    return any(name in given(inspect.getsource(part)) for part in classes or [owner])


def given(source: str) -> set[str]:
    """Attributes that some code sets, and strings that stand alone in it, as keys and in getattr do."""
    nodes = list(ast.walk(ast.parse(textwrap.dedent(source))))
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return stored | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("item", FRAGILE, ids=str)
def test_is_there(item: Fragile) -> None:
    assert not gone(item), gone(item)


def test_what_is_gone_is_told_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = [item for item in FRAGILE if item.name == "_get_model_param_range_map"]
    monkeypatch.delattr(DistributedOptimizer, item.name)
    assert f"megatron-core {metadata.version('megatron-core')}" in gone(item)
    assert "DistributedOptimizer._get_model_param_range_map" in gone(item)


OTHER = '''
class Optimizer:
    """Mentions main_param, and uses it, but nobody sets it."""

    def __init__(self, parameters):
        self.weights = [parameter.main_param for parameter in parameters]
        self.decays = [{"wd_mult": 1.0} for _ in parameters]

    def _preprocess(self, input_ids):
        return input_ids
'''


def test_another_version_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_megatron.py").write_text(OTHER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(metadata, "version", lambda package: "9.9")

    def lacks(owner: str, name: str, *takes: str) -> str:
        return gone(Fragile(f"other_megatron{owner}", name, "a test", takes))

    assert not lacks(".Optimizer", "weights")
    assert not lacks("", "wd_mult")
    assert not lacks(".Optimizer", "_preprocess", "input_ids")
    assert lacks(".Optimizer", "main_param") == (
        "other_megatron 9.9 has no other_megatron.Optimizer.main_param, which is for: a test"
    )
    assert lacks(".Optimizer", "_preprocess", "position_ids").endswith(": no parameter position_ids")
    assert "other_megatron.Gone.x" in lacks(".Gone", "x")


def files(*folders: Path) -> Iterator[tuple[Path, list[ast.AST]]]:
    """Of ours, below the folders, each with all its nodes."""
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        yield path, list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def private(node: ast.AST) -> set[str]:
    """Names with one underscore in front, taken from something else than `self`, or imported from others."""
    if isinstance(node, ast.Attribute):
        names = set() if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") else {node.attr}
    elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("d2plm_megatron"):
        names = {alias.name for alias in node.names}
    else:
        names = set()
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def named(node: ast.AST) -> set[str]:
    """An attribute, or a string that stands alone."""
    if isinstance(node, ast.Attribute):
        return {node.attr}
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_the_table_holds_what_the_door_uses_and_nothing_else() -> None:
    used = set()
    for path, nodes in files(DOOR):
        if path.name != "fragile.py":
            reached = set().union(*map(private, nodes))
            assert reached <= NAMES, f"{path.name}: {reached - NAMES} is not in fragile.py"
            used |= set().union(*map(named, nodes))
    assert used >= NAMES, f"in fragile.py, but not used: {NAMES - used}"


def test_nobody_but_the_door_uses_it() -> None:
    for path, nodes in files(PACKAGE):
        if DOOR not in path.parents:
            reached = {name for name in set().union(*map(private, nodes)) if (path.name, name) not in NOT_THEIRS}
            reached |= set().union(*map(named, nodes)) & (NAMES - ALSO_OURS)
            assert not reached, f"{path}: {reached} is for parallel/megatron alone"


def test_what_is_missing_is_not_passed_over() -> None:
    """What hasattr(...) and getattr(..., default) allow for is not noticed when it comes about."""
    for path, nodes in files(*(PACKAGE / room for room in ("parallel", "model", "training", "checkpoint"))):
        asserted = {id(inner) for node in nodes if isinstance(node, ast.Assert) for inner in ast.walk(node)}
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and id(node) not in asserted:
                passes_over = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2)
                assert not passes_over, f"{path}:{node.lineno}: {ast.unparse(node)}"


def test_what_torch_cuda_is_asked_is_public_and_there() -> None:
    for target, name, _ in _answers():
        assert hasattr(target, name), f"torch {metadata.version('torch')} has no {target.__name__}.{name}"
        assert not name.startswith("_")


def test_what_is_replaced_in_megatron_is_in_the_table() -> None:
    listed = [(pkgutil.resolve_name(item.owner), item.name) for item in FRAGILE]
    for target, name, _ in _megatron_answers():
        assert (target, name) in listed, f"{target.__name__}.{name}"


def test_how_processes_are_started_is_known_without_torch() -> None:
    """The first thing that a command asks; torch takes seconds."""
    modules = "d2plm_megatron.parallel, d2plm_megatron.parallel.launched, d2plm_megatron.parallel.preemption"
    command = f"import sys, {modules}; print(sorted({{'torch', 'megatron'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout == "[]\n"
