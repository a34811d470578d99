"""Pages as their readers see them, on a screen and on a telephone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d2plm_megatron.report import __main__ as report
from tests.browser import CHROMIUM, SCREEN, TELEPHONE, browser, faults

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.mark.parametrize("width", [SCREEN, TELEPHONE])
def test_the_report_has_no_fault(
    opened: Any, width: int, make_run: Callable[..., Path], make_fasta: Callable[..., Path], evaluation: Any
) -> None:
    folder = make_run("a_name_of_a_run_that_is_very_long_and_has_no_place_where_it_could_be_broken_into_two_lines")
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    samples = make_fasta("samples.fasta", [f"generated_{number:06d} seed=0 steps=64" for number in range(24)])
    reference = make_fasta("real.fasta", [f"real_{number} family=f{number % 3}" for number in range(30)])
    page = folder / "report.html"
    report.main(folder, samples=samples, evaluation=None, reference=reference, output=page)
    assert not faults(opened, page, width)


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
