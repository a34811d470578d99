"""When a run gets its time, and how it finds its folder again."""

import re
from dataclasses import replace
from pathlib import Path

from d2plm_megatron.config import Recipe, Train
from d2plm_megatron.runs.beginning import begun

RECIPE = Recipe(name="mine-{time}-3f2a77")


def test_first_start_has_the_time_and_every_other_its_folder(tmp_path: Path) -> None:
    recipe = replace(RECIPE, output=str(tmp_path / "runs"))
    assert re.fullmatch(r"mine-20\d{6}-\d{4}-3f2a77", begun(recipe).name)
    for others in ("mine-20200101-0000-3f2a78", "mine-20200101-0000-3f2a77-smoke", "xmine-20200101-0000-3f2a77"):
        (tmp_path / "runs" / others).mkdir(parents=True)
    assert not begun(recipe).name.startswith("mine-2020")
    (tmp_path / "runs" / "mine-20200101-0000-3f2a77").mkdir()
    assert begun(recipe).name == "mine-20200101-0000-3f2a77"
    assert begun(replace(recipe, name="mine-{time}-3f2a77-smoke")).name == "mine-20200101-0000-3f2a77-smoke"
    assert not begun(replace(recipe, train=Train(resume="never"))).name.startswith("mine-2020")
    assert begun(replace(recipe, name="plain")).name == "plain"
