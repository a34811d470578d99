"""The table of objectives end to end: all commands are really called, but in this process, which saves imports."""

import io
import json
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from d2plm_megatron import console
from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.proteins.fasta import write_fasta
from verification.objectives import __main__ as command
from verification.objectives import corpora, trials


class InOrder:
    """Stands for a pool of threads, which only wait for other processes."""

    def __init__(self, number: int) -> None:
        self.map = map

    def __enter__(self) -> "InOrder":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def typed(*words: Any) -> int:
    """The exit code of the command with these words."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["objectives", *map(str, words)])
        console.run(command.main)
    return int(ended.value.code or 0)


def test_a_row_is_trained_measured_and_judged_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[str] = []

    def call(module: str, *words: Any) -> str:
        called.append(f"{module} {words[0]}" if module == "d2plm_megatron" else module)
        if len(called) == stop_after:
            raise KeyboardInterrupt
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        printed = io.StringIO()
        with redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        assert not ended.value.code, (module, words)
        return printed.getvalue()

    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(command, "ThreadPoolExecutor", InOrder)
    for module in (corpora, trials):
        monkeypatch.setattr(module, "call", call)
    output = tmp_path / "table"
    size = ("--seeds", 2, "--samples", 8, "--judged", 1, "--proteins", 200, "--only", "MLM 15%")
    words = ("--output", output, "--steps", 3, *size)
    stop_after = 8
    assert typed(*words) != 0 and called[-1] == "d2plm_megatron.generation"
    stop_after = 0
    run = output / "simulated" / "runs" / "MLM_15__0"
    (run / "samples.fasta").write_text(">left\nMKTV\n")  # of a command that was killed before it told its evaluations
    capsys.readouterr()
    assert typed(*words) == 0
    second = ["d2plm_megatron train", "d2plm_megatron.evaluation"]
    assert called[8:] == ["d2plm_megatron.generation", "d2plm_megatron judge", *second]
    evaluations = [json.loads(path.read_text()) for path in sorted(run.parent.glob("MLM*/evaluation.json"))]
    perplexities = [evaluation["likelihoods"]["elbo"]["perplexity"] for evaluation in evaluations]
    printed = capsys.readouterr().out
    sampling, judgement = (json.loads((run / f"{name}.json").read_text()) for name in trials.RESULTS[1:])
    assert f"{fmean(perplexities):.3f} +- {stdev(perplexities):.3f}" in printed and "5-gram" in printed
    for side, title in (("samples", "MLM 15%"), ("natural", "natural proteins")):
        [line] = [line for line in printed.splitlines() if title in line]
        assert f" {judgement['measures']['token_entropy'][side]['value']:.3f} " in line
    assert sampling["evaluations"] >= 1 and judgement["proteins"]["records"] == 8
    assert typed(*words[:3], 4, *words[4:]) == 2
    assert "holds results of another request (steps was 3 and is 4)" in capsys.readouterr().err


def test_a_judge_of_real_proteins_learns_from_a_side_of_its_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    proteins = ["".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40)) for _ in range(1500)]
    write_fasta(tmp_path / "x.fasta", ((f"p{number}", protein) for number, protein in enumerate(proteins)))
    corpus = corpora.real(tmp_path / "x.fasta", tmp_path)
    judges = ("train", "validation")
    sides = {name: list(read_whole(corpus.folder / "data" / name)) for name in ("train", "validation", "test")}
    others = [protein.sequence for name in judges for protein in read_whole(corpus.others / name)]
    assert sorted(others) == sorted(protein.sequence for protein in sides["test"]) and len(others) > 100
    assert len(sides["validation"]) > 100 and len(sides["train"]) > 1100


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("")
    assert typed("--output", tmp_path) == 2
    assert "holds results of another request (there is no request.json)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
