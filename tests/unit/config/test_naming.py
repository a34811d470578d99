"""Names of runs as templates: what stands in them, what decides the hash, and what is refused."""

import re
from collections.abc import Sequence

import pytest

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml, resolve, to_yaml

RECIPE = Recipe(name="mine")


def name(*overrides: str) -> str:
    return resolve(RECIPE, overrides).name


def test_auto_is_recipe_time_and_hash_and_the_time_is_left_to_the_beginning() -> None:
    assert re.fullmatch(r"mine-\{time\}-[0-9a-f]{6}", name("name=auto"))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("{recipe}-lr{optimizer.lr}", "mine-lr0.001"),
        ("x{train.seed}", "x0"),
        ("plain", "plain"),
        ("{objective.name}", "absorbing"),
    ],
)
def test_keys_stand_for_their_values(typed: str, expected: str) -> None:
    assert name("optimizer.lr=1e-3", f"name={typed}") == expected


SAME = [["output=elsewhere"], ["track.wandb=true", "track.group=g"], ["train.resume=changed"]]
OTHER = [["optimizer.lr=1e-3"], ["train.seed=1"], ["objective=mlm"], ["data.train=x"], ["model=tiny"]]


@pytest.mark.parametrize("overrides", SAME)
def test_where_it_is_kept_and_who_watches_make_no_other_run(overrides: Sequence[str]) -> None:
    assert name("name=auto", *overrides) == name("name=auto")


def test_all_else_does() -> None:
    assert len({name("name=auto", *overrides) for overrides in [[], *OTHER]}) == len(OTHER) + 1


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("{recipes}", "{recipes} is no key of the recipe; did you mean {recipe}?"),
        ("{optimizer.lrs}", "did you mean {optimizer.lr}?"),
        ("{}", "{} is no key of the recipe"),
        ("{recipe}-{time}", "{time} needs {hash}, by which the run finds its folder again"),
        ("{output}/{hash}", "must be the name of one folder"),
    ],
)
def test_what_cannot_be_a_name_is_refused(typed: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        name(f"name={typed}")


def test_a_saved_recipe_keeps_its_name_as_it_is(tmp_path) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(Recipe(name="a{b}")))
    assert resolve(from_yaml(tmp_path / "recipe.yaml"), ["train.seed=1"]).name == "a{b}"
