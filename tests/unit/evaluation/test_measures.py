"""All that `d2plm evaluate` tells beside the one number, of one model and of two."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Absorbing, Data, FlowMatching, Model, Train
from d2plm_megatron.console import run
from d2plm_megatron.evaluation import __main__ as command
from d2plm_megatron.evaluation import floors as floors_room
from d2plm_megatron.evaluation.compare import Comparison
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.curves import NATS, WEIGHT
from d2plm_megatron.evaluation.evaluate import Evaluation, evaluate
from d2plm_megatron.evaluation.lengths import by_length
from d2plm_megatron.evaluation.masked import ALL_MASKED_NAME
from d2plm_megatron.evaluation.outputs import told_apart
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.inference.pseudo import masked_once
from d2plm_megatron.proteins import alphabet

CONFIG = EvaluationConfig(num_draws=3, window=40, pseudo_proteins=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """proteins.fasta, the run "masks" with two checkpoints, and the run "random"."""
    from benchmarks.random_proteins import write_proteins

    found = tmp_path_factory.mktemp("measures")
    prefix = str(write_proteins(found / "proteins", [30 + number for number in range(30)], 0))
    letters = np.random.default_rng(0).choice(list("LAGVSERTX"), (20, 60))
    records = [f">p{number}\n{''.join(row[: 22 + 2 * number])}\n" for number, row in enumerate(letters)]
    (found / "proteins.fasta").write_text("".join(records))
    for name, objective in (("masks", Absorbing()), ("random", FlowMatching(source="uniform"))):
        train(
            Recipe(
                name=name,
                output=str(found),
                model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64,
                            time_conditioning=name == "random"),
                objective=objective,
                data=Data(train=prefix, max_length_residues=50 if name == "masks" else 45, tokens_per_pack=512),
                train=Train(max_steps=2, save_every_steps=1, precision="fp32", global_batch_tokens=512),
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def evaluations(folder: Path) -> list[Evaluation]:
    """Of both checkpoints of "masks"."""
    found = []
    for step in (1, 2):
        with TrainedModel.open(folder / f"masks/checkpoints/step_{step:08}") as model:
            found.append(evaluate(model, str(folder / "proteins.fasta"), CONFIG))
    return found


def test_what_guesses_cost_adds_up_to_the_elbo(evaluations: list[Evaluation]) -> None:
    [_, found] = evaluations
    elbo, curves = found.likelihoods["elbo"], found.curves
    for sums in (curves.cells, curves.residues):
        assert sums[..., WEIGHT].sum() == pytest.approx(elbo.residues.sum())
        assert sums[..., NATS].sum() == pytest.approx(elbo.nats.sum(), rel=1e-6)
    numbers = found.numbers()
    assert [row["from"] for row in numbers["by_noise"]] == [tenth / 10 for tenth in range(10)]
    assert sum(row["share"] * row["nats_per_residue"] for row in numbers["by_residue"].values()) == pytest.approx(
        elbo.nats_per_residue, rel=1e-6
    )
    assert numbers["noise_is"] == "masks" and ALL_MASKED_NAME in numbers["likelihoods"]
    json.dumps(numbers, allow_nan=False)


def test_fifths_of_the_lengths_add_up(evaluations: list[Evaluation]) -> None:
    elbo, rows = evaluations[0].likelihoods["elbo"], evaluations[0].numbers()["by_length"]
    assert [(row["from"], row["to"], row["proteins"]) for row in rows] == [
        (22, 28, 4), (30, 36, 4), (38, 44, 4), (46, 52, 4), (54, 60, 4),
    ]  # fmt: skip
    assert sum(row["residues"] for row in rows) == elbo.residues[:, 0].sum()
    total = sum(row["residues"] * row["nats_per_residue"] for row in rows)
    assert total / elbo.residues[:, 0].sum() == pytest.approx(elbo.nats_per_residue)
    alike = Draws(np.array([[20.0], [24.0], [30.0]]), np.full((3, 1), 10))
    [row] = by_length(alike, [10, 10, 10])
    assert row["standard_error"] == pytest.approx(np.std([2.0, 2.4, 3.0], ddof=1) / np.sqrt(3))
    assert [row["proteins"] for row in by_length(alike, [10, 10, 50])] == [2, 1]


def test_pseudo_perplexity_is_that_of_single_proteins(evaluations: list[Evaluation], folder: Path) -> None:
    found = evaluations[1]
    pseudo, letters = found.pseudo, found.held_out.sequences
    assert pseudo is not None and len(pseudo.proteins) == 7
    short = [place for place, number in enumerate(pseudo.proteins) if len(letters[number]) <= 40]
    assert 0 < len(short) < 7  # the others go through the model in windows
    with TrainedModel.open(folder / "masks") as model:
        alone = masked_once(model, [alphabet.encode(letters[pseudo.proteins[place]]) for place in short], 40)
    for place, values in zip(short, alone, strict=True):
        assert pseudo.draws.nats[place, 0] == pytest.approx(-values.sum(), rel=1e-5)
        assert pseudo.draws.residues[place, 0] == len(values)
    of_long = [place for place in range(7) if place not in short]
    residues = [sum(letter != "X" for letter in letters[pseudo.proteins[place]]) for place in of_long]
    assert pseudo.draws.residues[of_long, 0].tolist() == residues


def test_a_comparison_is_the_difference_of_the_two(evaluations: list[Evaluation]) -> None:
    both, back = Comparison("AB", evaluations), Comparison("BA", evaluations[::-1])
    [found], [other] = both.differences, back.differences
    first, last = (evaluation.likelihoods["elbo"] for evaluation in evaluations)
    assert found.nats == pytest.approx(np.log(last.perplexity / first.perplexity))
    assert found.nats == -other.nats and both.verdicts == back.verdicts
    assert found.standard_error < min(first.standard_error, last.standard_error)
    same = Comparison("AA", [evaluations[0]] * 2)
    assert same.verdicts == ["A and A give the same to the last digit"]
    longer = Draws(np.hstack([last.nats, last.nats]), np.hstack([last.residues, last.residues]))
    assert np.array_equal(longer.first(3).nats, last.nats)
    paths = map(Path, ("runs/a", "runs/b/checkpoints/step_00000002"))
    assert told_apart(list(paths)) == ["a", "b/checkpoints/step_00000002"]
    assert told_apart([Path("runs/a")] * 2) == ["a", "a"]


def test_the_command_as_typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(folder)
    words = ["--data", "proteins.fasta", "--draws", "2"]
    called(["masks", *words, "--window", "40", "--table", "one.csv", "--pseudo-proteins", "2"])
    numbers = json.loads(Path("masks/evaluation.json").read_text())
    assert Path("masks/evaluation.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(Path("one.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [f"p{number}" for number in range(20)]
    nats, residues = (sum(float(row[name]) for row in rows) for name in ("nats", "residues"))
    assert nats / residues == pytest.approx(numbers["likelihoods"]["elbo"]["nats_per_residue"])
    assert sum(bool(row["pseudo_perplexity"]) for row in rows) == 2 == numbers["pseudo"]["proteins"]
    capsys.readouterr()
    fitted: list[str] = []
    own = floors_room.floors
    monkeypatch.setattr(floors_room, "floors", lambda train, *rest: fitted.append(train) or own(train, *rest))
    called(["masks", "random", *words, "--table", "two.parquet"])
    shown = capsys.readouterr()
    assert len(fitted) == 1 and f"perplexity by n-grams of {fitted[0]}: 1-gram " in shown.out
    assert "note: random: less the " in shown.err and "not shown to tell more than counting does" in shown.err
    assert "windows of 45 residues for all" in shown.err
    found = json.loads(Path("comparison.json").read_text())
    assert [model["window"] for model in found["models"]] == [45, 45]
    assert found["differences"][0]["verdict"] in " ".join(shown.out.split())
    table = pytest.importorskip("pyarrow.parquet").read_table("two.parquet")
    assert table.num_rows == 40 and set(table["checkpoint"].to_pylist()) == {
        model["checkpoint"] for model in found["models"]
    }


def test_what_is_there_is_kept_but_for_what_a_run_was_before(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    words = ["masks", "--data", "proteins.fasta", "--draws", "1", "--max-proteins", "2"]
    path = Path("masks/evaluation.json")
    called([*words, "--overwrite"])
    before = path.read_text()
    assert called([*words, "--seed", "1"]) == 2
    assert "evaluation.json: is there already; name another file, or give --overwrite" in capsys.readouterr().err
    assert path.read_text() == before
    path.write_text(json.dumps({**json.loads(before), "trained": "2026-01-01T00:00:00+00:00"}))
    called([*words, "--seed", "1"])
    assert json.loads(path.read_text())["seed"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["masks", "--pseudo-proteins", "0"], "--pseudo-proteins 0: must be at least 1"),
        (
            ["random", "--pseudo-proteins", "3", "--output", "y.json"],
            "it reads no masks but residues in place of residues",
        ),
        (["masks", "--table", "x.xlsx"], "x.xlsx: a table ends in .csv or .parquet"),
        (["masks", "--output", "x.png"], "x.png: is read or written by this command, too; name another file"),
        (["masks", "--table", "proteins.fasta"], "proteins.fasta: a table ends in"),
        (["masks", "nowhere"], "nowhere: "),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    assert called([*words, "--data", "proteins.fasta"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def called(words: list[str]) -> int | None:
    with pytest.raises(SystemExit) as ended:
        run(command.main, words=words)
    return ended.value.code
