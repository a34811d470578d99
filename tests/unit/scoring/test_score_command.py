"""Scores of given proteins against the likelihoods that a model gives when it is asked at once."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.pseudo import masked_once
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.__main__ import score

PROTEINS = {"one": "MKTVRQGLLAGVSERTIDPK", "two": "LAGVSERTIDPKQNFYMHWCXB", "short": "M", "long": "GGSGGSWWY" * 5}


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in PROTEINS.items()))
    return path


def read(path: Path) -> dict[str, dict[str, float]]:
    with path.open(newline="") as file:
        return {row.pop("id"): {key: float(text) for key, text in row.items()} for row in csv.DictReader(file)}


def test_scores_are_what_the_model_gives(fasta: Path, trained: Callable[[str], Path], capsys) -> None:
    score(trained("absorbing"), fasta, draws=4, pseudo=True, tokens_per_pack=48)
    found, printed = read(fasta.parent / "x.scores.csv"), capsys.readouterr().out
    with TrainedModel.open(trained("absorbing")) as model:
        perplexities = dict(zip(PROTEINS, model.perplexity(list(PROTEINS.values()), num_draws=4), strict=True))
        alone = masked_once(model, [*map(alphabet.encode, PROTEINS.values())], 40)
        pseudo = dict(zip(PROTEINS, alone, strict=True))
    for name, row in found.items():
        assert row["length"] == len(PROTEINS[name])
        assert row["perplexity"] == pytest.approx(perplexities[name], rel=1e-4)
        assert row["perplexity"] == pytest.approx(np.exp(row["nats_per_residue"]), rel=1e-4)
        assert row["pseudo_log_likelihood"] == pytest.approx(pseudo[name].sum(), abs=1e-3)
        assert row["pseudo_perplexity"] == pytest.approx(np.exp(-pseudo[name].mean()), rel=1e-4)
    assert [*found] == sorted(found, key=lambda name: found[name]["nats_per_residue"]) and "4 proteins" in printed


def test_a_long_protein_gets_what_an_evaluation_gives_it(fasta: Path, trained: Callable[[str], Path]) -> None:
    """In windows, whose residues are scored once, and by the same noise."""
    fasta.write_text(f">long\n{PROTEINS['long']}\n")
    score(trained("absorbing"), fasta, draws=3, window=20)
    with TrainedModel.open(trained("absorbing")) as model:
        expected = evaluate(model, str(fasta), EvaluationConfig(num_draws=3, window=20)).numbers()["likelihoods"]
        [alone] = model.perplexity([PROTEINS["long"]], num_draws=3, window=20)
    found = read(fasta.parent / "x.scores.csv")["long"]
    assert found["nats_per_residue"] == pytest.approx(expected["elbo"]["nats_per_residue"], abs=1e-4)
    assert found["error_of_draws"] == pytest.approx(expected["elbo"]["error_of_draws"], abs=1e-4)
    assert alone == pytest.approx(found["perplexity"], rel=1e-4)


def test_a_dataset_is_scored_as_its_fasta_file_is(
    fasta: Path, trained: Callable[[str], Path], write_proteins: Callable[..., Path]
) -> None:
    prefix = write_proteins([12, 50, 30])
    residues = IndexedProteins(prefix)
    fasta.write_text("".join(f">{n}\n{alphabet.decode(residues[n])}*\n" for n in range(3)))
    for given in (prefix, fasta):
        score(trained("absorbing"), given, fasta.with_name(f"{given.name}.csv"), draws=2)
    assert fasta.with_name(f"{prefix.name}.csv").read_text() == fasta.with_name(f"{fasta.name}.csv").read_text()


def test_default_outputs_of_two_files_differ(fasta: Path, trained: Callable[[str], Path]) -> None:
    for name in ("family.train.fasta", "family.test.fasta"):
        fasta.with_name(name).write_text(f">one\n{PROTEINS['one']}\n")
        score(trained("absorbing"), fasta.with_name(name), draws=1)
    assert {path.name for path in fasta.parent.glob("*.csv")} == {"family.train.scores.csv", "family.test.scores.csv"}
    with pytest.raises(ValueError, match=r"family\.test\.scores\.csv: is there already; name another file"):
        score(trained("absorbing"), fasta.with_name("family.test.fasta"), draws=1)


def test_ranks(fasta: Path, trained: Callable[[str], Path]) -> None:
    orders = {}
    for rank in ("none", "pseudo"):
        output = fasta.with_suffix(".parquet")
        score(trained("mlm"), fasta, output, draws=1, pseudo=True, sort=rank, overwrite=True)
        rows = parquet.read_table(output).to_pylist()
        orders[rank] = [row["id"] for row in rows]
        assert all(row["error_of_draws"] is None for row in rows)
    assert orders["none"] == [*PROTEINS]
    assert orders["pseudo"] == [row["id"] for row in sorted(rows, key=lambda row: row["pseudo_perplexity"])]


def test_the_error_is_that_of_draws(fasta: Path, trained: Callable[[str], Path]) -> None:
    """Of several seeds; draws are stratified, so that what is told lies above their spread rather than below."""
    fasta.write_text(f">one\n{PROTEINS['one']}\n")
    rows = []
    for seed in range(12):
        score(trained("uniform"), fasta, draws=8, seed=seed, overwrite=True)
        rows.append(read(fasta.parent / "x.scores.csv")["one"])
    spread = np.std([row["nats_per_residue"] for row in rows], ddof=1)
    told = np.mean([row["error_of_draws"] for row in rows])
    assert 0 < spread < 1.5 * told < 30 * spread


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        (">a\nMK\n>b\nM-K\n", {}, "record b: '-' at position 2 is no residue"),
        (">a\nMK\n>b\nXX\n", {}, "record b: has no canonical residue"),
        (">a\nMK\n>a\nMK\n", {}, "records 1 and 2 have the same id, a"),
        (">a\nMK\n", {"sort": "best"}, "--sort best: allowed are elbo, pseudo, none"),
        (">a\nMK\n", {"sort": "pseudo"}, "--sort pseudo: needs --pseudo"),
        (">a\nMK\n", {"pseudo": True, "name": "uniform"}, "reads no masks"),
        (">a\nMK\n", {"output": Path("x.txt")}, "a table ends in .csv or .parquet"),
    ],
)
def test_what_cannot_be_scored_is_one_line(text: str, options: dict, message: str, fasta: Path, trained) -> None:
    fasta.write_text(text)
    run = trained(options.pop("name", "absorbing"))
    with pytest.raises(ValueError, match=message):
        score(run, fasta, **{"output": fasta.with_suffix(".csv"), **options})
    assert not fasta.with_suffix(".csv").exists()
