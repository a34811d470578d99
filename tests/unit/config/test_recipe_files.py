"""Recipes are found by name, vary by lines, and tell the line of their file that is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from d2plm_megatron.config import MODEL_SIZES, FlowMatching, Recipe
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.recipe_files import build, find, load, shipped, vary

FOLDER = Path(__file__).parents[3] / "recipes"
HEAD = "from d2plm_megatron.config import *\nfrom d2plm_megatron.config.recipe_files import vary\n\n"


def write(path: Path, body: str, head: str = HEAD) -> Path:
    """A recipe whose body begins in line 5."""
    path.write_text(f"{head}def recipe():\n    {body}\n", encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ValueError) as refusal:
        build(load(path))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_variant_is_its_parent_and_the_lines_that_change():
    parent = build(load(FOLDER / "absorbing_tiny.py"))
    lines = ["train.max_steps=7", "objective=flow_matching", "objective.schedule=polynomial:2"]
    found = vary("absorbing_tiny", *lines, name="mine")
    assert found == resolve(parent, [*lines, "name=mine"])
    assert (found.name, found.train.max_steps) == ("mine", 7)
    assert found.objective == FlowMatching(schedule="polynomial:2")
    assert found.model == parent.model == MODEL_SIZES["tiny"]


def test_neighbours_come_before_the_recipes_of_the_package_and_a_file_is_not_its_own_parent(tmp_path):
    child = write(tmp_path / "child.py", 'return vary("parent", "train.seed=3", name="child")')
    write(tmp_path / "parent.py", 'return vary("fm_tiny", "train.max_steps=5", name="parent")')
    found = build(load(child))
    assert (found.name, found.train.seed, found.train.max_steps) == ("child", 3, 5)
    assert found.objective == build(load(find("fm_tiny"))).objective

    same = write(tmp_path / "fm_tiny.py", 'return vary("fm_tiny", name="fm_tiny")')
    assert build(load(same)) == build(load(FOLDER / "fm_tiny.py"))
    assert find("fm_tiny", child) == same


def test_a_parent_can_be_a_path_seen_from_the_file_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    write(tmp_path / "parent.py", 'return Recipe(name="parent", train=Train(max_steps=9))')
    child = write(tmp_path / "a" / "child.py", 'return vary("../parent.py", name="child")')
    monkeypatch.chdir("/")
    assert build(load(child)).train.max_steps == 9
    assert find(str(child)) == child


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('return vary("fm_tiny",\n    "train.seed=3",\n    "train.max_stps=3",\n    name="x")',
         "7: train.max_stps: no such key; did you mean train.max_steps?"),
        ('return vary("fm_tiny", "parallel.tensor=3", name="x")', "5: parallel.tensor=3: must divide"),
        ('return vary(\n    "fm_tny",\n    name="x",\n    )', "6: fm_tny: no such recipe; did you mean fm_tiny?"),
        ('return vary("there.py", name="x")', "5: there.py: no such file"),
        ('return vary("fm_tiny")', "5: TypeError: vary() missing 1 required keyword-only argument: 'name'"),
        ("return Recipe(\n    train=Train(max_steps=0),\n    )", "6: train.max_steps=0: must lie between"),
        ("return Recipe(optimizer=Optimizer(learning_rate=1.0))", "5: TypeError: Optimizer.__init__() got"),
        ("seed = 1\n    return Recipe(train=Train(sed=seed))", "6: TypeError: Train.__init__()"),
        ("return undefined", "5: NameError: name 'undefined' is not defined"),
        ("return (", "5: '(' was never closed"),
    ],
)  # fmt: skip
def test_an_error_has_the_line_of_the_users_file(body, told, tmp_path):
    path = write(tmp_path / "mine.py", body)
    assert refused(path).startswith(f"{path}, line {told}")


def test_an_error_of_a_parent_has_the_line_of_the_parent(tmp_path):
    parent = write(tmp_path / "parent.py", 'return vary("fm_tiny", "train.max_steps=0", name="parent")')
    child = write(tmp_path / "child.py", 'return vary("parent", "train.max_steps=1", name="child")')
    assert refused(child).startswith(f"{parent}, line 5: train.max_steps=0: must lie between")


def test_recipes_in_a_ring_are_refused(tmp_path):
    write(tmp_path / "one.py", 'return vary("two", name="one")')
    write(tmp_path / "two.py", 'return vary("one", name="two")')
    assert "line 5: RecursionError" in refused(tmp_path / "one.py")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", "there is no function recipe() in it"),
        ("recipe = 3\n", "there is no function recipe() in it"),
        ("import nothing_like_it\n", "line 1: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("\nraise OSError('gone')\n", "line 2: OSError: gone"),
        ("def recipe():\n    return 3\n", "recipe() must return a Recipe, and not int"),
    ],
)
def test_what_holds_no_recipe_is_refused_with_its_path(text, told, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert re.match(re.escape(str(path)) + ".*" + re.escape(told), refused(path))


def test_names_are_those_of_the_files():
    assert {path.stem for path in shipped()} == {path.stem for path in FOLDER.glob("[a-z]*.py")}
    assert find("demo") == FOLDER / "demo.py"
    with pytest.raises(ValueError, match=r"^zzz: no such recipe; there are absorbing_450m, absorbing_tiny, demo"):
        find("zzz")
    assert isinstance(build(load(find("demo"))), Recipe)


def test_an_own_recipe_anywhere_runs_as_those_of_the_package_do(tmp_path):
    mine = write(tmp_path / "mine.py", 'return vary("demo", "train.max_steps=3", name="mine")')
    mine.write_text("from d2plm_megatron.commandline.main import main\n" + mine.read_text() + "main(recipe)\n")
    done = subprocess.run([sys.executable, str(mine), "--cfg", "job"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "name: mine\n" in done.stdout and "max_steps: 3\n" in done.stdout
    mine.write_text(mine.read_text().replace("max_steps", "max_stps"))
    done = subprocess.run([sys.executable, str(mine), "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{mine}, line 6: train.max_stps: no such key" in done.stderr
