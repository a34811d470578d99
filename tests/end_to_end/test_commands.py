"""What `make demo` leaves, and what users get wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser

from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
SMALL = "train.max_steps=6 train.global_batch_tokens=2048 validation.every_steps=3 train.log_every_steps=2"


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=500
    )


def _succeed(*command: str, **environment: str) -> str:
    done = _run(*command, **environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `make demo`, made small."""
    folder = tmp_path_factory.mktemp("demo") / "small"
    _succeed("make", "demo", f"RUN={folder}", "PROTEINS=200", f"OVERRIDES={SMALL}")
    return folder


def _best_step(demo: Path) -> int:
    best = RunFolder(demo).best()
    assert best is not None
    return int(best.name.removeprefix("step_"))


def test_demo_leaves_what_readme_promises(demo: Path) -> None:
    for name in ("recipe.yaml", "metrics.jsonl", "curve.png", "evaluation.json", "samples.fasta", "report.html"):
        assert (demo / name).stat().st_size > 0, name
    assert RunFolder(demo).latest() == demo / "checkpoints" / "step_00000006"
    kinds = [json.loads(line)["kind"] for line in (demo / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("train") == 3
    assert kinds.count("validation") == 2


def test_samples_are_canonical_proteins_of_the_lengths_asked_for(demo: Path) -> None:
    with (demo / "samples.fasta").open() as file:
        headers, sequences = zip(*SimpleFastaParser(file), strict=True)
    assert len(sequences) == 64
    told = f"checkpoint={demo.name} weights=ema seed=0 sampler=exact steps=64 temperature=1"
    assert headers[0] == f"generated_000001 checkpoint_step={_best_step(demo)} {told}"
    assert all(100 <= len(sequence) <= 200 for sequence in sequences)
    assert set("".join(sequences)) <= set(alphabet.CANONICAL_LETTERS)


def test_evaluation_says_what_a_comparison_needs(demo: Path) -> None:
    result = json.loads((demo / "evaluation.json").read_text())
    assert 1 < result["likelihoods"]["elbo"]["perplexity"] < 40
    assert result["likelihoods"]["elbo"]["perplexity_error"] > 0
    assert 10 < result["unigram_perplexity"] < 20
    assert {"weights", "precision", "draws", "machine", "versions", "date"} <= result.keys()


def test_report_finds_everything_and_says_which_checkpoint_it_is_from(demo: Path) -> None:
    found = json.loads((demo / "report.json").read_text())
    assert found["run"]["checkpoints"] == {"evaluation": _best_step(demo), "samples": _best_step(demo)}
    assert {"evaluation", "samples", "novelty"} <= found.keys()


def test_same_seed_gives_the_same_proteins(demo: Path, tmp_path: Path) -> None:
    arguments = ["--num-sequences", "3", "--length", "20", "--steps", "4"]
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        output = str(tmp_path / f"{name}.fasta")
        _succeed(
            sys.executable, "-m", "d2plm_megatron.generation", str(demo), *arguments, "--seed", seed, "--output", output
        )
    a, b, c = ((tmp_path / f"{name}.fasta").read_text() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "d2plm_megatron.generation", "{demo}", "--output", "x.fasta", "--length", "9:3"], "--length 9:3"),
        (["-m", "d2plm_megatron.generation", "/nowhere", "--output", "x.fasta"], "/nowhere: no checkpoint"),
        (["-m", "d2plm_megatron.generation", "{demo}", "--output", "{demo}"], "is a directory"),
        (["-m", "d2plm_megatron.evaluation", "{demo}", "--data", "/nowhere"], "/nowhere.bin is missing"),
        (["-m", "d2plm_megatron.evaluation", "{demo}", "--data", "/x", "--output", "/../x.idx"], "read or written"),
        (
            ["recipes/demo.py", "data.train={demo}/data/train", "output={parent}", "name=small", "model.num_layers=2"],
            "saved with model.num_layers=4, but the recipe says 2",
        ),
        (
            ["recipes/demo.py", "data.train={demo}/data/validation", "output={parent}", "name=small"],
            "this run was trained otherwise: data.train",
        ),
        (
            ["recipes/demo.py", "data.train={demo}/data/train", "output={parent}", "name=small", "train.resume=never"],
            "already holds a run",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, demo: Path) -> None:
    done = _run(sys.executable, *(argument.format(demo=demo, parent=demo.parent) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_run_that_is_finished_is_not_begun_again(demo: Path) -> None:
    overrides = [f"data.train={demo}/data/train", f"output={demo.parent}", f"name={demo.name}", *SMALL.split()]
    printed = _succeed(sys.executable, "recipes/demo.py", *overrides)
    assert "continuing from" in printed
    assert "finished at step 6" in printed
    assert "step 6/6" not in printed
