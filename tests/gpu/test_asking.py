"""A trained model that is asked on a GPU: evaluated, scored by and generated with, as by the commands."""

import csv
from pathlib import Path

import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Absorbing, Data, Model, Train
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.generation.__main__ import main as generate
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.scoring.__main__ import score

pytestmark = pytest.mark.gpu
PROTEINS = {"short": "MKTVRQGLLAGVSERTIDPKQNFYMHW", "long": "GGSGGSWWYLAGVXSERT" * 6}
ROUNDING = {"fp32": 1e-4, "bf16": 2e-2}
"""Of nats per residue, in other packs."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run "tiny", trained for some steps, and given.fasta."""
    from benchmarks.random_proteins import write_proteins

    prefix = write_proteins(tmp_path / "proteins", [60] * 64, 0)
    data = Data(train=str(prefix), max_length_residues=64, tokens_per_pack=1024)
    model = Model(num_layers=2, hidden_size=64, num_attention_heads=2, ffn_hidden_size=128)
    train(
        Recipe(
            name="tiny", output=str(tmp_path), model=model, objective=Absorbing(), data=data,
            train=Train(max_steps=5, global_batch_tokens=1024),
        )
    )  # fmt: skip
    (tmp_path / "given.fasta").write_text("".join(f">{name}\n{letters}\n" for name, letters in PROTEINS.items()))
    return tmp_path


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_protein_has_the_same_score_however_it_is_asked_for(folder: Path, precision: str) -> None:
    """One of them is longer than the window, so that it is cut."""
    given, output = folder / "given.fasta", folder / "scores.csv"
    score(folder / "tiny", given, output, draws=4, sort="none", precision=precision, tokens_per_pack=96)
    with output.open(newline="") as file:
        scores = [float(row["nats_per_residue"]) for row in csv.DictReader(file)]
    config = EvaluationConfig(num_draws=4, pseudo_proteins=2)
    with TrainedModel.open(folder / "tiny", precision=precision) as model:
        found = evaluate(model, str(given), config)
    elbo = found.likelihoods["elbo"]
    assert (elbo.nats.sum(1) / elbo.residues.sum(1)).tolist() == pytest.approx(scores, abs=ROUNDING[precision])
    assert found.pseudo is not None and found.pseudo.draws.residues.sum() == elbo.residues[:, 0].sum()


def test_the_same_seed_gives_the_same_proteins(folder: Path) -> None:
    made = []
    for name in ("a", "b"):
        output = folder / f"{name}.fasta"
        generate(folder / "tiny", output=output, num_sequences=6, length="20:90", steps=8, rank=True)
        made.append(list(read_fasta(output)))
    assert made[0] == made[1] and len(made[0]) == 6
    assert all(set(letters) <= set(CANONICAL_LETTERS) and 20 <= len(letters) <= 90 for _, letters in made[0])
