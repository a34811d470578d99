"""The page of samples alone: in an order, with links, and no more of them than a page can hold."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from d2plm_megatron.console import run
from d2plm_megatron.report import __main__ as report
from d2plm_megatron.report.samples import MAX_SAMPLES


def page_of(samples: Path, **options: Path) -> str:
    """The page of a file of samples."""
    named = {"samples": None, "evaluation": None, "reference": None, "show": None, "output": None, **options}
    report.main(samples, **named)
    text = samples.with_name(f"{samples.name}.report.html").read_text(encoding="utf-8")
    anchors = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors
    return text


def listed(page: str) -> list[str]:
    """Names of the samples that are shown, in order."""
    return re.findall(r'<h3><a href="#sample-\d+">([^<]+)</a></h3>', page)


def write(path: Path, records: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f">{header}\n{letters}\n" for header, letters in records))
    return path


def test_samples_need_no_run(judged, tmp_path):
    for name in ("samples.fasta", "judge.json"):
        shutil.copy(judged / name, tmp_path)
    page = page_of(tmp_path / "samples.fasta")
    found = json.loads((tmp_path / "samples.fasta.report.json").read_text())
    assert set(found) == {"samples", "judgement"}
    assert re.search(r"3 generated proteins, 175 residues, all of them with\s+seed=0\.", page)
    assert "<dt>steps</dt><dd>8</dd>" in page and "<dt>seed</dt>" not in page
    assert set(listed(page)[:2]) == {"samples_0", "samples_1"}
    assert "Alignment with natural_1" in page and page.count("nothing known") == 1
    assert re.search(r"sample +1  [A-Z]{50,}  \d+\n", re.sub("<[^>]+>", "", page))


def test_another_judgement_is_not_taken_for_that_of_these_samples(judged, tmp_path, capsys):
    for name in ("samples.fasta", "judge.json"):
        shutil.copy(judged / name, tmp_path)
    other = shutil.copy(tmp_path / "samples.fasta", tmp_path / "other.fasta")
    assert "Beside natural proteins" not in page_of(other)
    assert "judge.json: is of samples.fasta, which this report is not about" in capsys.readouterr().err
    with (tmp_path / "samples.fasta").open("a") as file:
        file.write(">more\nMKTAYI\n")
    assert "3 proteins were judged, and the file has 4 now: judge them anew." in page_of(tmp_path / "samples.fasta")


@pytest.mark.parametrize(
    ("headers", "order"),
    [
        (["a perplexity=9.5", "b perplexity=10.25", "c perplexity=2"], "cab"),
        (["a score=9.5", "b score=10.25", "c score=2"], "bac"),
        (["a rank=2 score=9", "b rank=1 score=1", "c rank=3 score=5"], "bac"),
        (["a perplexity=nan", "b perplexity=1", "c perplexity=2"], "bca"),  # then by entropy
    ],
)
def test_headers_order_the_samples(headers, order, tmp_path):
    letters = ["AAAAAAAAAA", "MKTAYIWCDE", "MMKKTTAAYY"]
    path = write(tmp_path / "x.fasta", list(zip(headers, letters, strict=True)))
    assert "".join(listed(page_of(path))) == order


def test_of_many_samples_the_first_are_shown_and_the_file_named(tmp_path):
    path = write(tmp_path / "many.fasta", [(f"s{number} perplexity={number}", "MKTAYI") for number in range(1234)])
    page = page_of(path)
    assert listed(page) == [f"s{number}" for number in range(MAX_SAMPLES)]
    assert f"{MAX_SAMPLES} of the samples" in page
    assert 'The other 1,034 are in <a href="many.fasta">many.fasta</a>' in page


def test_long_proteins_are_folded_and_what_is_much_is_plain(tmp_path):
    path = write(tmp_path / "long.fasta", [("long", "MKTAYIWCDE" * 300), ("short", "MKTAYIWCDE")])
    assert "<summary>3,000 residues</summary>" in page_of(path)
    assert page_of(path).count('class="k') > 300
    path = write(tmp_path / "long.fasta", [(f"l{number}", "MKTAYIWCDE" * 500) for number in range(20)])
    assert page_of(path).count('class="k') < 50_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--samples", "x.fasta"], "x.fasta: is a file, so a report of samples alone"),
        (["--output", "x.fasta"], "name the HTML file"),
        (["--show", "x.fasta"], "x.fasta"),
        (["--show", "gone.csv"], "gone.csv"),
    ],
)
def test_what_does_not_fit_is_one_line(options, said, tmp_path, monkeypatch, capsys):
    write(tmp_path / "x.fasta", [("a", "MKT")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", "x.fasta", *options])
    with pytest.raises(SystemExit) as ended:
        run(report.main)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))
