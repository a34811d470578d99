"""What we use of Megatron and torch, though it is promised to nobody, is there; and only the door uses it."""

import ast
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from megatron.core.optimizer import DistributedOptimizer

import d2plm_megatron
from d2plm_megatron.parallel.megatron.cuda_on_cpu import _answers, _megatron_answers
from d2plm_megatron.parallel.megatron.fragile import FRAGILE, Fragile
from verification import megatron_contract
from verification.megatron_contract import STUBS, declarations, gone, untrue

PACKAGE = Path(d2plm_megatron.__file__).parent
DOOR = PACKAGE / "parallel" / "megatron"
NAMES = {item.name for item in FRAGILE}
ALSO_OURS = {"main_param", "optimizer", "sequence_parallel"}
"""Names that something of ours bears as well, so that to find them elsewhere says nothing."""
NOT_THEIRS = {("compression.py", "_replace"), ("overrides.py", "_get_node")}
"""Of a named tuple and of OmegaConf."""


@pytest.mark.parametrize("item", FRAGILE, ids=str)
def test_is_there(item: Fragile) -> None:
    assert not gone(item), gone(item)


def test_what_is_gone_is_told_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = [item for item in FRAGILE if item.name == "_get_model_param_range_map"]
    monkeypatch.delattr(DistributedOptimizer, item.name)
    assert f"megatron-core {metadata.version('megatron-core')}" in gone(item)
    assert "DistributedOptimizer._get_model_param_range_map" in gone(item)


OTHER = '''
from dataclasses import dataclass


class Optimizer:
    """Mentions main_param, and uses it, but nobody sets it."""

    def __init__(self, parameters):
        self.weights = [parameter.main_param for parameter in parameters]
        self.decays = [{"wd_mult": 1.0} for _ in parameters]

    def _preprocess(self, input_ids):
        return input_ids


@dataclass
class Config:
    size: int
    depth: int


def scale(model, factor: float, times):
    pass
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


@pytest.mark.parametrize(("path", "node"), [pytest.param(*found, id=found[0]) for found in declarations()])
def test_stub_is_true(path: str, node: ast.stmt) -> None:
    assert not untrue(path, node)


FALSE = {
    "def scale(model, factor: int, times=...): ...": "has factor: float; has times without",
    "def scale(model, factor, times, new): ...": "has no parameter new",
    "def scale(factor: float, model): ...": "has factor at another place; has model at another place; needs times",
    "def scale(model, *, times): ...": "needs factor",
    "def shrink(): ...": "other_megatron 9.9 has no other_megatron:shrink",
    "class Optimizer:\n    weights: list\n    moments: list": "has no attribute moments",
    "class Optimizer:\n    def step(self): ...": "has no method step",
    "class Optimizer:\n    def _preprocess(self, input_ids, *, packed=...): ...": "has no parameter packed",
    "@dataclass\nclass Config:\n    size: int\n    depth: int = ...\n    width: int": (
        "has no attribute width; has depth without; has no parameter width"
    ),
}


@pytest.mark.parametrize(("stub", "told"), FALSE.items())
def test_stub_that_is_not_true_is_seen_through(
    stub: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_megatron.py").write_text(OTHER, encoding="utf-8")
    (tmp_path / "other_megatron.pyi").write_text(stub, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_megatron", raising=False)
    monkeypatch.setattr(metadata, "version", lambda package: "9.9")
    monkeypatch.setattr(megatron_contract, "STUBS", tmp_path)
    ((path, node),) = declarations()
    found = untrue(path, node)
    assert len(found) == len(told.split("; ")), found
    assert all(text in line for text, line in zip(sorted(told.split("; ")), sorted(found), strict=True)), found


def test_a_wrong_keyword_is_an_error_of_types(tmp_path: Path) -> None:
    calls = [
        "distributed import DistributedDataParallelConfig; DistributedDataParallelConfig(overlap_gradient_reduce=True)",
        "transformer import TransformerConfig; TransformerConfig(num_layer=2)",
        "optimizer import get_megatron_optimizer; get_megatron_optimizer(config=None, chunks=[])",
        "models.gpt.gpt_model import GPTModel; GPTModel(None, None, 33, 64, vocabulary=1)",
        "pipeline_parallel import get_forward_backward_func; get_forward_backward_func()(microbatches=1)",
    ]
    (tmp_path / "calls.py").write_text("".join(f"from megatron.core.{call}\n" for call in calls), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=skip", "--no-incremental", "calls.py"]
    environment = {**os.environ, "MYPYPATH": str(STUBS)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    for line, wrong in enumerate(["overlap_gradient_reduce", "num_layer", "chunks", "vocabulary", "microbatches"], 1):
        assert f'calls.py:{line}: error: Unexpected keyword argument "{wrong}"' in found, found


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
