"""Classes of options in files of the user: known once run, told by line, never run because a YAML file says so."""

import sys
from pathlib import Path

import pytest

from d2plm_megatron import own_code
from d2plm_megatron.config import OBJECTIVES, MaskedLM, Recipe, own_objective
from d2plm_megatron.config.overrides import from_yaml, resolve, to_yaml

MINE = """
from __future__ import annotations

from dataclasses import dataclass

from d2plm_megatron.config import Objective, option, register


@register
@dataclass(frozen=True, kw_only=True)
class Mine(Objective):
    name: str = option("mine", "which objective this is")
    share: float = option(0.25, "of the residues", (0.0, 1.0))
    most: int | None = option(None, "residues")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share == 0.5:
            raise ValueError("objective.share=0.5: is not for me")
        if self.share == 0.75:
            self.nothing

    def build(self):
        return None

    def build_process(self):
        return None
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """write(text) names a file with that text; all that is learned from it is forgotten after the test."""
    monkeypatch.setattr(own_code, "_files", set())
    monkeypatch.setattr(own_code, "_loaded", {})
    monkeypatch.setattr(own_objective, "_FILES", {})
    known = dict(OBJECTIVES)

    def write(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setenv(own_code.VARIABLE, str(path))
        return path

    yield write
    OBJECTIVES.clear()
    OBJECTIVES.update(known)


def test_options_are_chosen_changed_and_read_back(write, tmp_path) -> None:
    path = write(MINE)
    recipe = resolve(Recipe(), ["objective=mine", "objective.most=3"])
    assert vars(recipe.objective) == {"name": "mine", "share": 0.25, "most": 3}
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    assert f"  defined_in: {path}\n" in to_yaml(recipe)
    assert from_yaml(tmp_path / "recipe.yaml") == recipe
    assert "defined_in" not in to_yaml(Recipe())


def test_a_yaml_file_runs_nothing(write, tmp_path, monkeypatch) -> None:
    path = write(MINE + f"\n\nopen({str(tmp_path / 'was_run')!r}, 'w')\n")
    monkeypatch.delenv(own_code.VARIABLE)
    written = to_yaml(Recipe(objective=MaskedLM(mask_fraction=0.5))).replace(
        "name: mlm", f"name: mine\n  defined_in: {path}"
    )
    (tmp_path / "recipe.yaml").write_text(written)
    with pytest.raises(
        ValueError, match=r"objective\.name=mine: allowed are .*; it was defined in /.*mine\.py: to run"
    ):
        from_yaml(tmp_path / "recipe.yaml")
    assert not (tmp_path / "was_run").exists() and "mine" not in OBJECTIVES


def test_errors_are_told_with_the_line_but_for_refused_values(write) -> None:
    path = write(MINE)
    resolve(Recipe(), ["objective=mine"])
    for override, expected in {
        "objective.share=0.5": None,  # which says all by itself
        "objective.share=2": None,
        "objective.share=0.75": f"{path}, line 21: AttributeError: 'Mine' object has no attribute 'nothing'",
    }.items():
        with pytest.raises((ValueError, AttributeError)) as error:
            resolve(Recipe(), ["objective=mine", override])
        assert own_code.told(error.value) == expected
    with pytest.raises(ValueError) as error:
        resolve(Recipe(), ["objective=other"])
    assert own_code.told(error.value) is None


def test_a_file_is_run_once_and_its_name_is_taken(write, tmp_path) -> None:
    counted = write(MINE + "\n\nimport sys\nsys.times_run = getattr(sys, 'times_run', 0) + 1\n")
    for _ in range(3):
        own_code.load_named()
    assert sys.times_run == 1  # type: ignore[attr-defined]
    del sys.times_run  # type: ignore[attr-defined]
    write(MINE, "other.py")
    with pytest.raises(ValueError, match=rf"Mine\.name=mine: {counted} has an objective of that name"):
        own_code.load_named()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("@dataclass(frozen=True, kw_only=True)\n", "", "Mine: write @dataclass"),
        ("(Objective)", "", "Mine: must be a class derived from"),
        ('option(0.25, "of the residues", (0.0, 1.0))', "0.25", "Mine.share: write its value as option"),
        ("share: float", "share: list", "Mine.share: must be an int, a float, a bool or a str"),
        ("def build(", "def bild(", r"Mine: there is no method build\(\) in it"),
        ('option("mine"', 'option("my own"', "Mine.name=my own: give it a name like"),
        ('option("mine"', 'option("mlm"', "Mine.name=mlm: this package has an objective of that name"),
    ],
)
def test_classes_that_cannot_work_are_refused(write, right: str, wrong: str, message: str) -> None:
    path = write(MINE.replace(right, wrong).replace("        super().__post_init__()\n", ""))
    with pytest.raises(ValueError, match=message) as error:
        own_code.load_named()
    assert str(own_code.told(error.value)).startswith(f"{path}, line ")
    assert {"absorbing", "flow_matching", "metric_flow", "mlm"} == OBJECTIVES.keys()
