"""Every recipe builds, prints, and plans; and says in one line what is wrong with it."""

import importlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml, resolve
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.objectives import build
from d2plm_megatron.runs.metrics import read_metrics

FOLDER = Path(__file__).parents[2] / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def _run(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [f"recipes/{name}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return int(ended.value.code or 0)


def _recipe(name: str) -> Recipe:
    recipe = importlib.import_module(f"recipes.{name}").recipe()
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_named_as_its_file_and_its_objective_can_be_built(name: str) -> None:
    recipe = _recipe(name)
    assert recipe.name == name
    build(recipe.objective)
    assert importlib.import_module(f"recipes.{name}").recipe.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_cfg_prints_a_recipe_that_reads_back(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert _run(name, "--cfg", "job", "train.seed=7", monkeypatch=monkeypatch) == 0
    path = tmp_path / "recipe.yaml"
    path.write_text(capsys.readouterr().out)
    assert from_yaml(path) == resolve(_recipe(name), ["train.seed=7"])


@pytest.mark.parametrize("name", NAMES)
def test_dry_run_on_a_cluster(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    size = "1" if name in ("demo", "family_8m") else "4" if "tiny" in name else "8"
    _run(name, "--dry-run", "--world-size", size, "--gpu-memory", "80", monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "parameters" in printed
    assert "memory per GPU" in printed


def test_dry_run_of_several_corpora(
    write_proteins: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1000 proteins of 18 residues are drawn as often as one of each of 100 clusters of 600 proteins of 58."""
    one, other = write_proteins([18] * 1000, name="one"), write_proteins([58] * 600, name="other")
    clusters = write_clusters(Path(f"{other}.clusters.npy"), np.arange(600) // 6)
    overrides = [f"data.train={one}:1 {other}:1", f"data.clusters={clusters}", "train.global_batch_tokens=4096"]
    _run("absorbing_tiny", "--dry-run", *overrides, "train.max_steps=100", monkeypatch=monkeypatch)
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "50.0% of the draws: 1,000 proteins in" in printed
    assert "50.0% of the draws: one of each of 100 clusters of 600 proteins in" in printed
    assert "20,000 tokens" in printed and "6,000 tokens" in printed
    assert "19.5 steps; the run sees the data 5.12 times" in printed  # 4096 tokens are 102.4 draws of 40 on average
    assert "2.0 steps; the run sees the data 51.20 times" in printed


def test_family_stops_when_the_held_out_proteins_gain_nothing(
    write_proteins: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a learning rate of 0 the first evaluation is the best: five more, and the run is over."""
    train, held_out = write_proteins([60] * 40, name="family"), write_proteins([60] * 10, name="held_out")
    small = ["model.num_layers=1", "model.hidden_size=32", "model.ffn_hidden_size=64", "train.global_batch_tokens=1024"]
    where = [f"data.train={train}", f"data.validation={held_out}", f"output={tmp_path}"]
    changes = [*where, *small, "optimizer.lr=0", "validation.every_steps=2"]
    assert _run("family_tiny", *changes, monkeypatch=monkeypatch) == 0
    evaluations = [
        line for line in read_metrics(tmp_path / "family_tiny" / "metrics.jsonl", print) if line["kind"] == "validation"
    ]
    assert [line["step"] for line in evaluations] == [2, 4, 6, 8, 10, 12]


def test_help_names_every_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("fm_450m", "--help", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    for key in ("train.max_steps", "parallel.sharding", "objective.schedule", "ema.decay", "track.wandb"):
        assert key in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.max_stps=3"], "train.max_stps: no such key; did you mean train.max_steps?"),
        (["objective=fm"], "objective=fm: allowed are absorbing, flow_matching, metric_flow, mlm"),
        (["train.max_steps=many"], "train.max_steps=many"),
        (["parallel.sharding=zero3"], "parallel.sharding=zero3: allowed are none, optimizer, parameters"),
        (["--dry-run", "--world-size", "3", "parallel.tensor=2"], "needs a multiple of 2 processes, but there are 3"),
        (["--dry-run", "parallel.pipeline=5"], "parallel.pipeline=5: must divide model.num_layers=24"),
        (["--dry-run", "--gpu-memory", "8"], "set data.tokens_per_pack=4096, or parallel.tensor=2"),
        (["--dry-run", "data.train=/nowhere/proteins"], "/nowhere/proteins.bin is missing"),
        (["--dry-runs"], "No such option: --dry-runs (Possible options: --dry-run)"),
        ([], "data.train: give the prefix of the training data"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("fm_450m", *arguments, monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
