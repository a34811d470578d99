"""What a report reads: what is missing or damaged is one line, and what can be told is told."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.console import run
from d2plm_megatron.report import __main__ as report
from d2plm_megatron.report.evaluation_record import read_evaluation
from d2plm_megatron.report.results import gather


def break_nothing(folder: Path) -> None:
    """The run is fine; what the command names is not there."""


def put_evaluation(folder: Path) -> None:
    (folder / "evaluation.json").write_text(json.dumps({"step": 20}))


def break_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").unlink()


def break_evaluation(folder: Path) -> None:
    (folder / "evaluation.json").write_text("{")


def break_evaluation_contents(folder: Path) -> None:
    (folder / "evaluation.json").write_text('{"likelihoods": {"elbo": {"perplexity": 3}}}')


def break_samples(folder: Path) -> None:
    (folder / "samples.fasta").write_text(">a\nMKT-L\n")


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (break_nothing, ["--samples", "absent.fasta"], "absent.fasta: no such file"),
        (break_nothing, ["--evaluation", "absent.json"], "absent.json: no such file"),
        (break_nothing, ["--reference", "absent.fasta"], "absent.fasta: no such file"),
        (break_nothing, ["--output", "page.json"], "page.json: name the HTML file"),
        (break_nothing, ["--output", "rep"], "rep: name the HTML file, as in rep.html"),
        (break_nothing, ["--output", "."], ".: is a directory"),
        (break_nothing, ["--output", "run/recipe.yaml/page"], "recipe.yaml is a file"),
        (put_evaluation, ["--output", "run/../run/evaluation.html"], "read or written by this command, too"),
        (break_recipe, [], "not the folder of a run"),
        (break_evaluation, [], "evaluation.json: damaged"),
        (break_evaluation_contents, [], "evaluation.json: not an evaluation"),
        (break_samples, [], "samples.fasta, record a: '-' at position 4"),
    ],
)
def test_missing_or_damaged_inputs_end_in_one_line(
    damage: Callable[[Path], None], options, message, make_run, monkeypatch, capsys, tmp_path
):
    folder = make_run()
    damage(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", str(folder), *options])
    with pytest.raises(SystemExit) as ended:
        run(report.main)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(folder.glob("report.*"))


@pytest.mark.parametrize(
    "likelihoods", [3, {}, {"masked": {}}, {"elbo": 3.0}, {"elbo": {"perplexity": 3}}, "elbo", ["elbo"]]
)
def test_an_evaluation_without_its_likelihoods_is_none(likelihoods, evaluation, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(evaluation))
    assert read_evaluation(path).numbers == evaluation
    path.write_text(json.dumps({**evaluation, "likelihoods": likelihoods}))
    with pytest.raises(ValueError, match="not an evaluation"):
        read_evaluation(path)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("report.run_record", "torch megatron matplotlib jinja2 Bio"),
        ("report.__main__", "torch megatron matplotlib jinja2 Bio numpy"),
        ("report.table", "torch megatron matplotlib jinja2"),
        ("report.page", "torch megatron"),
        ("evaluation.samples.collection", "torch megatron matplotlib jinja2"),
    ],
)
def test_what_is_imported_by_what(module, absent):
    code = f"import sys, d2plm_megatron.{module}; assert not set({absent.split()}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_damage_that_leaves_something_to_report_is_named_and_left_out(make_run, capsys):
    folder = make_run()
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n' + (folder / "metrics.jsonl").read_text())
    (folder / "checkpoints" / "step_00000020" / "state.json").write_text("{")
    record = gather(folder, None, None, None).run
    assert len(record.metrics) == 3
    assert record.state is None
    assert record.trained["steps"] == 20
    said = capsys.readouterr().err
    assert "metrics.jsonl, line 1: damaged" in said
    assert "state.json: damaged" in said


def test_a_last_line_of_the_log_that_was_cut_off_is_left_out(make_run):
    folder = make_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')
    assert len(gather(folder, None, None, None).run.metrics) == 3
