"""What counts as a difference between two runs, and what a user may ask for."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from d2plm_megatron.config.overrides import resolve
from verification.layouts import LAYOUTS, OBJECTIVES
from verification.parity import ROUNDING, Cell, Differences, chosen, compare, job
from verification.tiny_runs import TINY

NONE = Differences(**dict.fromkeys(vars(ROUNDING), 0.0))


def _run(losses: tuple[float, ...] = (2.0, 4.0), weight: tuple[float, ...] = (3.0, 4.0)) -> SimpleNamespace:
    """What is compared of a run."""
    tensors = {"raw.a": torch.tensor(weight), "ema.a": torch.ones(2)}
    return SimpleNamespace(losses=losses, gradient_norms=(1.0, 1.0), tensors=tensors)


def test_differences_are_relative_and_the_largest() -> None:
    assert compare(_run(), _run()) == NONE
    assert compare(_run(losses=(2.1, 4.1)), _run()) == replace(NONE, loss=pytest.approx(0.05))
    assert compare(_run(weight=(3.0, 4.5)), _run()) == replace(NONE, weights=pytest.approx(0.1))


def test_what_is_not_a_number_is_never_equal() -> None:
    for run, name in ((_run(losses=(2.0, math.nan)), "loss"), (_run(weight=(3.0, math.nan)), "weights")):
        assert Cell("", compare(run, _run()), ROUNDING).failure.startswith(f"{name} nan")


@pytest.mark.parametrize("name", vars(ROUNDING))
def test_each_quantity_is_held_to_its_bound(name: str) -> None:
    bound = vars(ROUNDING)[name]
    assert not Cell("", replace(NONE, **{name: 0.99 * bound}), ROUNDING).failure
    assert Cell("", replace(NONE, **{name: bound}), ROUNDING).failure.startswith(name)
    assert Cell("initial weights differ", NONE, ROUNDING).failure == "initial weights differ"


def test_every_cell_is_another_recipe_or_number_of_processes() -> None:
    cells = [job(("bf16", objective, layout), Path("run"), 3) for objective in OBJECTIVES for layout in LAYOUTS]
    recipes = [resolve(TINY, list(cell.overrides)) for cell in cells]
    assert {(recipe.train.precision, recipe.train.max_steps) for recipe in recipes} == {("bf16", 3)}
    assert len({(repr(r), cell.num_processes) for r, cell in zip(recipes, cells, strict=True)}) == len(cells)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    assert chosen("--layouts", "TP2,PP2", tuple(LAYOUTS)) == ["TP2", "PP2"]
    with pytest.raises(ValueError, match="did you mean DP2\\+FSDP"):
        chosen("--layouts", "DP2+FSPD", tuple(LAYOUTS))
