"""Evaluations of a trained model, from datasets and from FASTA."""

import json
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Data, MaskedLM, Model, Train
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.evaluation.__main__ import main
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate, print_evaluation
from d2plm_megatron.proteins import alphabet


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from benchmarks.random_proteins import write_proteins

    return write_proteins(tmp_path_factory.mktemp("data") / "proteins", [30 + 2 * number for number in range(30)], 0)


@pytest.fixture(scope="module")
def model(proteins: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    recipe = Recipe(
        output=str(tmp_path_factory.mktemp("runs")),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        objective=MaskedLM(),
        data=Data(train=str(proteins), max_length_residues=60, tokens_per_pack=512),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=512),
    )
    with TrainedModel.open(train(recipe)) as opened:
        yield opened


def test_fasta_gives_what_the_dataset_gives(model: TrainedModel, proteins: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "proteins.fasta"
    letters = [alphabet.decode(protein) for protein in IndexedProteins(proteins)]
    fasta.write_text("".join(f">p{number} of 30\n{protein}\n" for number, protein in enumerate(letters)))
    for config in (EvaluationConfig(num_draws=2), EvaluationConfig(num_draws=1, max_proteins=7, max_length=50)):
        indexed, found = (evaluate(model, str(data), config) for data in (proteins, fasta))
        assert found.held_out.sequences == indexed.held_out.sequences
        assert [name[1:] for name in found.held_out.ids] == list(indexed.held_out.ids)
        for name in ("elbo", "masked"):
            assert np.array_equal(found.likelihoods[name].nats, indexed.likelihoods[name].nats)
        assert found.numbers().keys() == indexed.numbers().keys()
    assert max(map(len, found.held_out.sequences)) <= 50
    assert found.numbers()["left_out"]["longer"] == 7 - len(found.held_out.ids) > 0


def test_numbers_tell_what_a_comparison_needs(model: TrainedModel, proteins: Path, capsys) -> None:
    result = evaluate(model, str(proteins), EvaluationConfig(num_draws=2, seed=3, max_length=80))
    found, elbo = result.numbers(), result.likelihoods["elbo"]
    assert (found["seed"], found["draws"], found["max_length"], found["window"]) == (3, 2, 80, 60)
    assert found["proteins"] == 26 and found["residues"] == sum(range(30, 82, 2))
    assert found["likelihoods"]["elbo"]["nats_per_residue"] == elbo.nats.sum() / elbo.residues.sum()
    assert {"machine", "versions", "date", "windows", "noise", "weights", "precision"} <= found.keys()
    print_evaluation(result)
    shown = capsys.readouterr()
    assert f"{elbo.perplexity:.3f} +- {elbo.perplexity_error:.3f}" in shown.out
    assert "left out 4 proteins of more than 80 residues" in shown.err
    floor = result.floors.by_name["5-gram"]
    assert found["floors"]["5-gram"]["perplexity"] == floor.perplexity and found["floors_of"]["train"] == str(proteins)
    assert "5-gram of training" in shown.out and f"{floor.perplexity:.3f} +- {floor.perplexity_error:.3f}" in shown.out
    assert "it is not shown to tell more than counting does" in shown.err  # as these are the training proteins
    other = evaluate(model, str(proteins), EvaluationConfig(num_draws=2, seed=4, max_length=80))
    assert other.likelihoods["elbo"].nats_per_residue != elbo.nats_per_residue


def test_draws_go_on_until_their_error_is_small_enough(model: TrainedModel, proteins: Path, capsys) -> None:
    few = evaluate(model, str(proteins), EvaluationConfig(num_draws=2, max_proteins=10)).likelihoods["elbo"]
    until = few.perplexity * few.error_of_draws / 1.7
    result = evaluate(model, str(proteins), EvaluationConfig(num_draws=2, max_proteins=10, until=until))
    elbo = result.likelihoods["elbo"]
    assert elbo.perplexity * elbo.error_of_draws <= until
    assert 2 < elbo.num_draws < 60
    assert np.array_equal(elbo.nats[:, :2], few.nats)  # which were not drawn anew
    print_evaluation(result)
    says = elbo.error_of_proteins > elbo.error_of_draws
    assert ("only more proteins make it smaller" in capsys.readouterr().err) == says
    print_evaluation(evaluate(model, str(proteins), EvaluationConfig(num_draws=1, max_proteins=10)))
    assert "one draw: its error cannot be told from that of the proteins" in capsys.readouterr().err


def test_a_draw_that_chooses_no_residue_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    """As masked language modelling does now and then with a handful of residues."""
    (tmp_path / "x.fasta").write_text(">a\nM\n")
    with pytest.raises(ValueError, match="masked: none of the residues was chosen: evaluate more proteins"):
        evaluate(model, str(tmp_path / "x.fasta"), EvaluationConfig(num_draws=1))


def test_the_command_writes_what_it_prints_and_refuses_what_cannot_be_before_it_reads(
    model: TrainedModel, proteins: Path, tmp_path: Path, capsys
) -> None:
    run, output = model.checkpoint.path, tmp_path / "found.json"
    main([run], str(proteins), output, draws=2, max_proteins=5, seed=1)
    found = json.loads(output.read_text())
    assert (found["draws"], found["proteins"], found["seed"]) == (2, 5, 1)
    assert f"{found['likelihoods']['elbo']['perplexity']:.3f} +- " in capsys.readouterr().out
    with pytest.raises(ValueError, match="--draws 0: must lie"):
        main([run], "/nowhere", output, draws=0)
    with pytest.raises(ValueError, match=f"max_length=3: shorter than all of {proteins}, 30 proteins"):
        main([run], str(proteins), output, max_length=3, overwrite=True)
    with pytest.raises(ValueError, match=r"found\.json: is there already; name another file, or give --overwrite"):
        main([run], str(proteins), output)
    assert json.loads(output.read_text()) == found


def test_a_slip_of_the_pen_costs_no_measuring(
    model: TrainedModel, proteins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("d2plm_megatron.evaluation.evaluate._measured", lambda *given: pytest.fail("measured"))
    with pytest.raises(OSError, match=r"/nowhere.bin is missing"):
        main([model.checkpoint.path], str(proteins), tmp_path / "found.json", train="/nowhere")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"num_draws": 0}, "--draws 0: must lie between 1 and 10,000"), ({"until": 0.0}, r"--until 0\.0: must be above 0"),
     ({"until": -1.0}, "must be above 0"), ({"until": float("nan")}, "must be above 0"),
     ({"window": 1}, "--window 1: must be at least 2"), ({"max_length": 0}, "--max-length 0: must be at least 1"),
     ({"num_draws": 10**6}, "--draws 1000000: must lie between")],
)  # fmt: skip
def test_what_cannot_be_meant(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        EvaluationConfig(**wrong)
