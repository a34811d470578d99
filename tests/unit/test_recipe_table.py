"""Recipes read as the table of a paper: each is a size with a name, and ESM-2's differ in what the paper says."""

import dataclasses
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from d2plm_megatron.commandline.dry_run import print_plan
from d2plm_megatron.config import MODEL_SIZES, Model, Recipe
from d2plm_megatron.config.overrides import keys_of
from d2plm_megatron.config.recipe_files import build, load, shipped
from d2plm_megatron.config.sizing import num_parameters

DOCS = Path(__file__).parents[2] / "docs"
RECIPES: dict[str, Recipe] = {path.stem: build(load(path)) for path in shipped()}
STATED = {"name", "model", "objective", "data", "optimizer", "ema", "train", "parallel"}


def test_the_page_of_recipes_is_what_they_say() -> None:
    page = runpy.run_path(str(DOCS / "recipes.py"))["page"]()
    assert (DOCS / "recipes.md").read_text(encoding="utf-8") == page, "python docs/recipes.py writes it anew"
    for name, recipe in RECIPES.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert f" {num_parameters(recipe.model):,} " in row and f" {recipe.train.global_batch_tokens:,} " in row


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_encoder_is_a_size_with_a_name(recipe: Recipe) -> None:
    without_time = dataclasses.replace(recipe.model, time_conditioning=False)
    assert without_time in MODEL_SIZES.values()


@pytest.mark.parametrize("path", [path for path in shipped() if "450m" in path.stem or "esm2" in path.stem])
def test_flagships_state_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {part for part in STATED if f"\n        {part}=" in text} == STATED
    for option in ("lr", "schedule", "warmup_steps", "max_steps", "global_batch_tokens", "decay", "num_layers"):
        assert f"{option}=" in text


def test_esm2_is_trained_as_in_the_paper() -> None:
    """Lin et al. 2023: all alike but the largest, which has its own rate, decay, batch and length."""
    parent = keys_of(RECIPES["esm2_8m"])
    own = {"name", "data.tokens_per_pack", "parallel.tensor", "parallel.sequence"}
    own |= {f"model.{field.name}" for field in dataclasses.fields(Model)}
    for size in ("35m", "150m", "650m", "3b", "15b"):
        keys = keys_of(RECIPES[f"esm2_{size}"])
        changed = {key: value for key, (value, _) in keys.items() if value != parent[key][0] and key not in own}
        assert RECIPES[f"esm2_{size}"].model == MODEL_SIZES[f"esm2_{size}"]
        assert changed == (
            {}
            if size != "15b"
            else {
                "optimizer.lr": 1.6e-4,
                "optimizer.weight_decay": 0.1,
                "train.max_steps": 270_000,
                "train.global_batch_tokens": 3 << 20,
            }
        )


@pytest.mark.parametrize(
    ("name", "processes", "gib"), [("esm2_3b", (2, 512), (41, 20)), ("esm2_15b", (8, 64, 512), (47, 22, 19))]
)
def test_memory_is_what_the_docstring_says(
    name: str, processes: tuple[int, ...], gib: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = " ".join((load(next(path for path in shipped() if path.stem == name)).__doc__ or "").split())
    for number, needed in zip(processes, gib, strict=True):
        print_plan(RECIPES[name], number, 80.0)
        assert f"fits: {needed} of 80 GiB" in capsys.readouterr().out
        assert f"{needed} GiB" in said or f"{needed} of {number}" in said


def test_recipes_are_read_without_torch_and_none_imports_another() -> None:
    code = (
        "import sys; from d2plm_megatron.config.recipe_files import build, load, shipped\n"
        "for path in shipped(): build(load(path))\n"
        "assert not {'torch', 'megatron', 'recipes', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
