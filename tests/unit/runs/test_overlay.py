"""Runs over one another: which numbers, over what, and what is wrong with a log is told."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.runs import metrics
from d2plm_megatron.runs.overlay import LoggedRun, last_values, overlay, read_runs, write


def write_log(folder: Path, level: float = 10.0) -> Path:
    """Reports at steps 10 and 20, the second step interval twice as slow, and a validation at step 15."""
    folder.mkdir(parents=True)
    for step, seconds in ((10, 360.0), (20, 720.0)):
        counts = {"tokens": 100 * step, "proteins": step, "lr": 1e-3, "gradient_norm": 0.1}
        line = {"perplexity": level / step, "seconds_per_step": seconds, **counts}
        metrics.append(folder / "metrics.jsonl", {"kind": "train", "step": step, "time": "now", **line})
    held_out = {"kind": "validation", "step": 15, "time": "now", "elbo_perplexity": level}
    metrics.append(folder / "metrics.jsonl", held_out)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[LoggedRun]:
    return read_runs([write_log(tmp_path / "a"), write_log(tmp_path / "b$^_<b>", 12.0)], pytest.fail)


@pytest.mark.parametrize(
    ("x", "train", "held_out"),
    [("steps", [10, 20], [15]), ("tokens", [1000, 2000], [1500]), ("hours", [1, 3], [2])],
)
def test_every_axis_has_both_kinds_where_they_belong(
    runs: list[LoggedRun], x: str, train: list[float], held_out: list[float]
) -> None:
    [axes] = overlay(runs, x=x).axes
    drawn = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert drawn == [train, held_out] * 2
    assert np.asarray(axes.lines[2].get_ydata()).tolist() == [1.2, 0.6]
    assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()


def test_a_panel_per_metric_and_a_name_in_full_is_that_alone(runs: list[LoggedRun]) -> None:
    first, second = overlay(runs, ["train/perplexity", "lr"]).axes
    assert len(first.lines) == len(second.lines) == 2
    [legend] = overlay(runs, ["lr", "perplexity"]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b$^_<b>", "a, validation", "b$^_<b>, validation"]
    assert last_values(runs[0], ["perplexity"]) == {
        "step": 20,
        "train/perplexity": 0.5,
        "validation/elbo_perplexity": 10.0,
    }


def test_metric_that_nobody_logged_is_told_with_the_nearest(runs: list[LoggedRun]) -> None:
    with pytest.raises(ValueError, match=r"^--metric perplexty: no run has logged it; did you mean perplexity\?$"):
        overlay(runs, ["perplexty"])
    with pytest.raises(ValueError, match=r"^--x time: allowed are steps, tokens, hours"):
        overlay(runs, x="time")


def test_numbers_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "a")
    lines = [{**line, "perplexity": float("nan")} for line in metrics.read_metrics(folder / "metrics.jsonl")]
    perplexity, rate = overlay([LoggedRun("a", tuple(lines))], ["train/perplexity", "lr"], "hours").axes
    assert np.isnan(np.asarray(perplexity.lines[0].get_ydata(), dtype=float)).all()
    assert np.asarray(rate.lines[0].get_ydata()).tolist() == [1e-3, 1e-3]


def test_pages_need_nothing_else_and_escape_names(runs: list[LoggedRun], tmp_path: Path) -> None:
    for suffix in (".html", ".png"):
        write(overlay(runs), runs, ["perplexity"], tmp_path / f"out{suffix}")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out.html").read_text()
    assert "b$^_&lt;b&gt;" in page and "<b>" not in page and "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<td>20</td><td>0.6</td><td>12</td>" in page


def plot(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "d2plm_megatron", "metrics", "plot", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_tells_what_is_damaged_or_missing_and_draws_the_rest(tmp_path: Path) -> None:
    good, damaged = write_log(tmp_path / "one" / "run"), write_log(tmp_path / "two" / "run")
    log = damaged / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"tokens": 1000', b'"tokens": 9000'))
    done = plot(good, damaged, tmp_path / "none", "--output", tmp_path / "x.html", tmp_path / "x.png")
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.splitlines()
    assert first.startswith(f"note: {log}, line 1: damaged: ")
    assert second == f"note: {tmp_path}/none/metrics.jsonl: no log of a run there, or nothing in it; it is left out"
    assert "20" in done.stdout and (tmp_path / "x.html").stat().st_size > 5000 and (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "no run with a log; give folders of runs"),
        (["{run}", "--output", "x.pdf"], "--output x.pdf: name a file that ends in .html or .png"),
    ],
)
def test_command_without_a_log_or_a_form_ends_in_a_line(tmp_path: Path, words: list[str], message: str) -> None:
    run = write_log(tmp_path / "run")
    done = plot(*(word.format(run=run) for word in words))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]
