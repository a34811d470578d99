"""The package as notebooks see it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import d2plm_megatron
from d2plm_megatron.config import Data, Model, Recipe, Train, Validation
from d2plm_megatron.runs.metrics import read_metrics

RECIPE = Recipe(
    name="mine",
    model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
    train=Train(max_steps=4, precision="fp32", global_batch_tokens=64, log_every_steps=1),
    data=Data(max_length_residues=40, tokens_per_pack=64),
    validation=Validation(every_steps=2),
)


def test_to_import_it_imports_nothing_else() -> None:
    code = """import sys; before = set(sys.modules); import d2plm_megatron
assert {"TrainedModel", "train", "metrics", "Recipe"} <= set(dir(d2plm_megatron))
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before if "importlib" not in name}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "megatron", "yaml", "rich"} & set(eval(done.stdout)), done.stdout


def test_every_name_leads_somewhere() -> None:
    for name in d2plm_megatron.__all__:
        assert getattr(d2plm_megatron, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'TrainedModels'"):
        _ = d2plm_megatron.TrainedModels  # type: ignore[attr-defined]


def test_training_from_a_recipe_tells_of_every_line(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    prefix = str(write_proteins([30] * 20))
    recipe = replace(RECIPE, output=str(tmp_path), data=replace(RECIPE.data, train=prefix, validation=prefix))
    told: list[dict] = []
    run = d2plm_megatron.train(recipe, callback=told.append)
    assert run == tmp_path / "mine"
    assert [(line["kind"], line["step"]) for line in told if line["kind"] == "train"] == [
        ("train", s) for s in (1, 2, 3, 4)
    ]
    assert [line["step"] for line in told if line["kind"] == "validation"] == [2, 4]
    assert d2plm_megatron.metrics(run) == told == list(read_metrics(run / "metrics.jsonl"))
    assert d2plm_megatron.metrics(str(run))[0]["loss"] > 0

    again: list[dict] = []
    d2plm_megatron.train(replace(recipe, train=replace(recipe.train, max_steps=5)), callback=again.append)
    assert [line["step"] for line in again if line["kind"] == "train"] == [5]
    with d2plm_megatron.TrainedModel.open(run) as model:
        d2plm_megatron.train(replace(recipe, name="beside"))  # while a model is open
        assert len(model.generate(2, 9, num_steps=2)) == 2


def test_a_callback_may_end_the_training(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    recipe = replace(RECIPE, output=str(tmp_path), data=replace(RECIPE.data, train=str(write_proteins([30] * 20))))

    def stop(line: dict) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        d2plm_megatron.train(recipe, callback=stop)
    d2plm_megatron.train(recipe)  # nothing is locked or joined any more


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.train: give the prefix"):
        d2plm_megatron.train(replace(RECIPE, output=str(tmp_path)))
    with pytest.raises(ValueError, match="no log of a run there; give the folder of a run"):
        d2plm_megatron.metrics(tmp_path)
