"""What is told of a sweep: of whole, damaged and missing runs, as a table, as pictures and as a page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs import metrics
from d2plm_megatron.runs.folder import RunFolder
from launchers.sweep.outcomes import Outcome, common_likelihood, is_finished, ranked, read_outcomes
from launchers.sweep.pictures import curves, values
from launchers.sweep.record import NAME, Point, plan
from launchers.sweep.table import table

OVERRIDES = ["optimizer.lr=1e-4,1e-3,1e-2", "objective=absorbing,mlm", "train.max_steps=20"]
PERPLEXITIES = {1e-4: 9.0, 1e-3: 6.0, 1e-2: 14.0}


def train(point: Point, steps: int, kinds: tuple[str, ...] = ("elbo",)) -> Path:
    """What a run leaves that got as far as this, and was best at step 10."""
    folder = Path(point.recipe.output) / point.name
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(to_yaml(point.recipe))
    perplexity = PERPLEXITIES[point.recipe.optimizer.lr] + (point.recipe.objective.name == "mlm")
    for step in range(5, steps + 1, 5):
        counts = {"tokens": 100 * step, "proteins": step, "lr": 1e-3, "gradient_norm": 0.1}
        line = {"perplexity": 20.0, "tokens_per_second": 1000.0 * step, "seconds_per_step": 1.0, **counts}
        metrics.append(folder / "metrics.jsonl", {"kind": "train", "step": step, "time": "now", **line})
        held_out = {f"{kind}_perplexity": perplexity + abs(step - 10) for kind in kinds}
        metrics.append(folder / "metrics.jsonl", {"kind": "validation", "step": step, "time": "now", **held_out})
    return folder


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    planned = plan("absorbing_tiny", Recipe(), [*OVERRIDES, f"output={tmp_path}", "name=mine"])
    assert planned is not None
    planned[0].write()
    return planned[1]


@pytest.fixture
def folder(points: list[Point], tmp_path: Path) -> Path:
    """Six points: two finished, one that stopped, one damaged, one that begins and one that has not begun."""
    train(points[0], 20)
    train(points[1], 20, ("masked", "elbo"))
    train(points[2], 10)
    (train(points[3], 20) / "recipe.yaml").write_text("optimizer: {}")
    return tmp_path / "mine"


def test_table_tells_every_state_and_the_best_is_first(folder: Path, points: list[Point]) -> None:
    said: list[str] = []
    with RunFolder(folder / points[4].name).locked():
        outcomes = read_outcomes(folder, said.append)
    [line] = said
    assert line.startswith(f"{folder / points[3].name}/recipe.yaml: ")
    assert common_likelihood(outcomes) == "elbo"  # masked is of one only
    columns, rows = table(outcomes, "elbo")
    assert columns == ["point", "state", "perplexity (elbo)", "best step", "tokens/s"]
    assert rows == [
        ["lr=1e-3_objective=absorbing", "stopped, 10 of 20 steps", "6.000", "10", "7,500"],
        ["lr=1e-4_objective=absorbing", "finished, 20 steps", "9.000", "10", "12,500"],
        ["lr=1e-4_objective=mlm", "finished, 20 steps", "10.000", "10", "12,500"],
        ["lr=0.01_objective=absorbing", "running", "–", "–", "–"],
        ["lr=0.01_objective=mlm", "not begun", "–", "–", "–"],
        ["lr=1e-3_objective=mlm", "damaged", "–", "–", "–"],
    ]
    assert [is_finished(point) for point in points] == [True, True, False, False, False, False]


def test_evaluation_is_told_with_its_error(folder: Path, points: list[Point]) -> None:
    of_model = {"perplexity": 8.7654, "perplexity_error": 0.0123}
    names = ("step", "draws", "proteins", "residues", "unigram_perplexity", "machine", "versions", "date")
    evaluation = {**dict.fromkeys(names, 1), "likelihoods": {"elbo": of_model}}
    (folder / points[0].name / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / points[1].name / "evaluation.json").write_text("{}")
    said: list[str] = []
    columns, rows = table(read_outcomes(folder, said.append), "elbo")
    assert columns[4] == "evaluated" and [row[4] for row in rows[:3]] == ["–", "8.765 ± 0.012", "–"]
    assert any("not an evaluation" in line for line in said)


def test_without_sweep_json_the_recipes_tell_what_was_swept(folder: Path) -> None:
    said: list[str] = []
    (folder / NAME).write_text("{}")
    outcomes = {outcome.name: outcome for outcome in read_outcomes(folder, said.append)}
    assert NAME in said[0] and "by the recipes of the runs instead" in said[0]
    (folder / NAME).unlink()
    assert read_outcomes(folder, said.append) == list(outcomes.values())
    assert outcomes["lr=1e-4_objective=mlm"].values["optimizer.lr"] == "0.0001"
    assert outcomes["lr=1e-4_objective=mlm"].values["objective.name"] == "mlm"
    assert outcomes["lr=1e-3_objective=absorbing"].values.keys() >= {"optimizer.lr", "objective.name"}
    assert "name" not in outcomes["lr=1e-4_objective=mlm"].values
    assert len(outcomes) == 4


def test_a_smoke_run_is_the_point_that_it_was_for(folder: Path, points: list[Point]) -> None:
    done = folder / points[0].name
    done.rename(done.with_name(f"{done.name}-smoke"))
    [outcome] = [outcome for outcome in read_outcomes(folder, lambda damage: None) if outcome.name == points[0].name]
    assert outcome.steps == (20, 20) and is_finished(points[0])


def test_more_steps_make_a_finished_point_go_on(folder: Path, points: list[Point], tmp_path: Path) -> None:
    planned = plan("x", Recipe(), [*OVERRIDES[:2], "train.max_steps=40", f"output={tmp_path}", "name=mine"])
    assert planned is not None and not any(map(is_finished, planned[1]))


def test_curves_and_values_are_drawn_where_they_belong(folder: Path) -> None:
    outcomes = read_outcomes(folder, lambda damage: None)
    [axes] = curves(outcomes, "elbo").axes
    assert [np.asarray(line.get_ydata()).min() for line in axes.lines] == [6, 9, 10]
    figure = values(outcomes, "elbo")
    assert figure is not None
    rates, objectives = figure.axes
    assert (rates.get_xlabel(), rates.get_xscale()) == ("optimizer.lr", "log")
    drawn = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in rates.lines]
    assert drawn == [[(1e-4, 9.0), (1e-3, 6.0)], [(1e-4, 10.0)]]
    assert [text.get_text() for text in objectives.get_xticklabels()] == ["absorbing", "mlm"]


def test_what_is_not_finite_is_no_best() -> None:
    lines = [{"kind": "validation", "step": step, "elbo_perplexity": float(p)} for step, p in enumerate(("nan", 3, 4))]
    outcome = Outcome(name="x", values={}, state="stopped", lines=tuple(lines))
    assert outcome.best("elbo") == (3.0, 1)
    assert ranked([Outcome(name="a", values={}, state="damaged"), outcome], "elbo")[0] is outcome
    assert values([outcome], "elbo") is None


def show(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "d2plm_megatron", "sweep", "show", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_prints_and_writes_a_page_that_needs_nothing_else(folder: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "out.html", tmp_path / "out.png"
    done = show(folder, "--output", page, picture)
    assert done.returncode == 0, done.stderr
    [note] = done.stderr.splitlines()
    assert note.startswith("note: ") and "stopped, 10 of 20 steps" in done.stdout
    text = page.read_text()
    assert text.count("data:image/svg+xml;base64,") == 2 and "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<td>lr=1e-3_objective=absorbing</td><td>stopped, 10 of 20 steps</td><td>6.000</td>" in text
    assert imread(picture).shape[1] == 960


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{folder}/none"], "no such folder; give that of a sweep"),
        (["{folder}"], "no sweep: there is neither sweep.json nor a run in it"),
        (["{folder}", "--output", "x.pdf"], "--output x.pdf: name a file that ends in .html or .png"),
    ],
)
def test_command_without_a_sweep_ends_in_a_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = show(*(word.format(folder=tmp_path) for word in words))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_nothing_to_draw_is_said(points: list[Point], tmp_path: Path) -> None:
    done = show(tmp_path / "mine", "--output", tmp_path / "x.html")
    assert done.returncode == 2 and done.stdout.count("not begun") == 6
    assert "no point was validated yet" in done.stderr and not (tmp_path / "x.html").exists()
