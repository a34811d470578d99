"""The points of a sweep, by Hydra's grammar."""

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.config import OBJECTIVES, Recipe
from d2plm_megatron.config.overrides import resolve
from launchers.sweep import expand

SAFE = re.compile(r"[\w.+=-]{1,100}", re.ASCII)
TIMELESS = sorted(OBJECTIVES.keys() - {"metric_flow"})
"""Objectives that the default model can learn."""
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="$\\'\"~"), min_size=1, max_size=150)


def test_every_combination_in_order() -> None:
    assert expand(["optimizer.lr=1e-4,3e-4", "train.max_steps=5", "objective=absorbing,mlm"]) == [
        ("lr=1e-4_objective=absorbing", ["optimizer.lr=1e-4", "train.max_steps=5", "objective=absorbing"]),
        ("lr=1e-4_objective=mlm", ["optimizer.lr=1e-4", "train.max_steps=5", "objective=mlm"]),
        ("lr=3e-4_objective=absorbing", ["optimizer.lr=3e-4", "train.max_steps=5", "objective=absorbing"]),
        ("lr=3e-4_objective=mlm", ["optimizer.lr=3e-4", "train.max_steps=5", "objective=mlm"]),
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.max_steps=5"],
        ["data.train=[a,b]"],  # a list is a value
        ["data.train='a,b'"],  # and so is what stands in quotes
        ["data.train=a:0.7 b:0.3"],
        ["name=a,b", "output=c,d"],
    ],
)
def test_what_is_no_sweep_is_one_point_without_a_name(overrides: list[str]) -> None:
    assert expand(overrides) == [("", overrides)]


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("train.seed=range(3)", ["seed=0", "seed=1", "seed=2"]),
        ("optimizer.lr=range(0.1,0.4,0.1)", ["lr=0.1", "lr=0.2", "lr=0.3"]),  # 0.1 + 0.2 is 0.30000000000000004
        ("optimizer.lr=0.0003,0.01,2", ["lr=3e-4", "lr=0.01", "lr=2"]),
        ("optimizer.lr=choice(1e-3)", ["lr=1e-3"]),
        ("ema.ramp=true,false", ["ramp=true", "ramp=false"]),
        ("train.seed=sort(3,1,2)", ["seed=1", "seed=2", "seed=3"]),
        ("objective=glob(*)", [f"objective={name}" for name in OBJECTIVES]),
        ("data.train=a/train,'b c/train'", ["train=a-train", "train=b-c-train"]),
    ],
)
def test_names_say_what_is_swept(override: str, names: list[str]) -> None:
    assert [name for name, _ in expand([override])] == names


def test_keys_with_the_same_last_part_are_named_in_full() -> None:
    assert [name for name, _ in expand(["data.train=a,b", "x.train=1"])] == ["train=a", "train=b"]
    [(name, _), *_] = expand(["data.every_steps=1,2", "validation.every_steps=3,4", "train.seed=5,6"])
    assert name == "data.every_steps=1_validation.every_steps=3_seed=5"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=interval(0,1)"], "optimizer.lr=interval.0,1.: there are no values in it; write them as A,B or"),
        (["optimizer.lr=glob(*)"], "there are no values"),
        (["objective=glob(x*)"], "there are no values"),
        (["train.seed=range(3,3)"], "there are no values"),
        (["train.seed=range(0.0,1.0,0.0)"], "there are no values"),
        (["train.seed=range(1000000000)"], "train.seed=range.1000000000.: more than 1,000 values"),
        (["train.seed=range(100)", "optimizer.lr=range(100)"], "a sweep of 10,000 points; 1,000 are the most"),
        (["train.seed=1,2", "train.seed=3"], "train.seed=1,2: train.seed is given twice"),
        (["optimizer.lr=1e-4,2,0.0001"], "optimizer.lr=1e-4,2,0.0001: 1e-4 stands there twice"),
        (["optimizer.lr"], "not an override; write key=value"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_a_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        expand(overrides)
    assert "\n" not in str(refusal.value)


@settings(max_examples=25)
@given(
    rates=st.lists(st.floats(1e-9, 9.0), min_size=1, max_size=4, unique=True),
    steps=st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True),
    objectives=st.lists(st.sampled_from(TIMELESS), min_size=1, max_size=3, unique=True),
)
def test_points_are_the_product_and_hold_the_values_exactly(
    rates: list[float], steps: list[int], objectives: list[str]
) -> None:
    sweeps = {"optimizer.lr": rates, "train.max_steps": steps, "objective": objectives}
    points = expand([f"{key}=choice({','.join(map(str, values))})" for key, values in sweeps.items()])
    recipes = [resolve(Recipe(), [*overrides, f"name={name}"]) for name, overrides in points]
    found = [(recipe.optimizer.lr, recipe.train.max_steps, recipe.objective.name) for recipe in recipes]
    assert found == list(product(rates, steps, objectives))
    assert [recipe.name for recipe in recipes] == [name for name, _ in points]  # a name is taken as it stands
    assert len({name.casefold() for name, _ in points}) == len(points)
    assert all(SAFE.fullmatch(name) for name, _ in points)


@settings(max_examples=25)
@given(st.lists(TEXTS, min_size=2, max_size=5, unique=True))
def test_any_texts_get_names_of_their_own_that_a_file_system_takes(texts: list[str]) -> None:
    listed = ",".join(f"'{text}'" for text in texts)
    points = expand([f"data.train={listed}"])
    assert [resolve(Recipe(), overrides).data.train for _, overrides in points] == texts
    assert len({name.casefold() for name, _ in points}) == len(texts)
    assert all(SAFE.fullmatch(name) for name, _ in points)
