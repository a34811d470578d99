"""Pages as their readers see them, on a screen and on a telephone."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d2plm_megatron.report import __main__ as report
from d2plm_megatron.runs.overlay import LoggedRun, overlay, write
from launchers.sweep.show import tell
from tests.browser import CHROMIUM, SCREEN, TELEPHONE, browser, faults

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

LONG_NAME = "a_name_of_a_run_that_is_very_long_and_has_no_place_where_it_could_be_broken_into_two_lines"
HOSTILE = "<script>alert(1)</script>$\\bad_{"


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


def page_of(target: Path, **options: Path) -> Path:
    """The page of a run or of samples."""
    page = (target if target.is_dir() else target.parent) / "page.html"
    named = {"samples": None, "evaluation": None, "reference": None, "show": None, "output": page, **options}
    report.main(target, **named)
    return page


def all_faults(opened: Any, page: Path) -> list[str]:
    """On a screen and on a telephone."""
    return [f"{width}: {fault}" for width in (SCREEN, TELEPHONE) for fault in faults(opened, page, width)]


def test_a_run_with_everything_has_no_fault(
    opened: Any, make_run: Callable[..., Path], make_fasta: Callable[..., Path], judged: Path, write_mutants, evaluation
) -> None:
    folder = make_run(LONG_NAME)
    for name in ("samples.fasta", "judge.json", "judge.png"):
        shutil.copy(judged / name, folder)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    difference = {"nats_per_residue": 0.026, "standard_error": 0.007, "interval": [0.012, 0.04], "share_better": 0.2}
    told = {**difference, "model": "b", "to": LONG_NAME, "verdict": f"{LONG_NAME} is better than b"}
    models = [{**evaluation, "model": name} for name in (LONG_NAME, "b")]
    (folder / "comparison.json").write_text(json.dumps({"models": models, "differences": [told]}))
    write_mutants(folder)
    reference = make_fasta("real.fasta", [f"real_{number} family=f{number % 3}" for number in range(30)])
    assert not all_faults(opened, page_of(folder, reference=reference))


def test_a_run_with_nothing_but_a_recipe_has_no_fault(opened: Any, make_run: Callable[..., Path]) -> None:
    folder = make_run()
    (folder / "metrics.jsonl").unlink()
    shutil.rmtree(folder / "checkpoints")
    assert not all_faults(opened, page_of(folder))


def test_samples_with_hostile_names_have_no_fault(opened: Any, tmp_path: Path) -> None:
    headers = [f"{HOSTILE} a={HOSTILE} perplexity={number}" for number in range(12)]
    records = [f">{header} c={'x' * 300}{n}\n{'MKTAYIWCDE' * (300 if n else 1)}\n" for n, header in enumerate(headers)]
    samples = tmp_path / "$x<b>.fasta"
    samples.write_text("".join(records))
    assert not all_faults(opened, page_of(samples))


def test_runs_over_one_another_and_sweeps_have_no_fault(opened: Any, make_run: Callable[..., Path]) -> None:
    folder = make_run("<i>$\\bad_{")
    lines = tuple(json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    runs = [LoggedRun(name, lines) for name in (LONG_NAME, HOSTILE, "b")]
    write(overlay(runs, ["perplexity"]), runs, ["perplexity"], folder.parent / "overlay.html")
    assert not all_faults(opened, folder.parent / "overlay.html")
    sweep = folder.parent / "sweep"
    for name in (LONG_NAME, "b"):
        shutil.copytree(folder, sweep / name)
    tell(sweep, [folder.parent / "sweep.html"])
    assert not all_faults(opened, folder.parent / "sweep.html")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<div style='width:2000px'>wide</div>", 'DIV of class "" is wider than the window'),
        ("<script>console.error('an error')</script>", "an error"),
        ("<script>undefined_function()</script>", "undefined_function is not defined"),
        ("<img src='data:image/png;base64,AAAA' alt='a curve'>", "no picture: a curve"),
        ("<img src='http://127.0.0.1:9/x.png' alt='a curve'>", "http://127.0.0.1:9/x.png"),
    ],
)
def test_faults_are_found(opened: Any, tmp_path: Path, body: str, fault: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{body}</body>")
    assert any(fault in found for found in faults(opened, page, TELEPHONE))
