"""Evaluations of a trained model, from datasets and from FASTA."""

from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Data, Model, Train
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.proteins import alphabet


def test_fasta_gives_what_the_dataset_gives(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    """Within the error of the estimate, as the noise is another; with the same residues, and the first of them."""
    prefix = write_proteins([40 + number for number in range(60)])
    recipe = Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(prefix), max_length_residues=100, tokens_per_pack=1024),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=1024),
    )
    fasta = tmp_path / "proteins.fasta"
    proteins = [alphabet.decode(protein) for protein in IndexedProteins(prefix)]
    fasta.write_text("".join(f">p{number}\n{letters}\n" for number, letters in enumerate(proteins)))
    with TrainedModel.open(train(recipe)) as model:
        indexed, found = (evaluate(model, str(data), 4, 100) for data in (prefix, fasta))
        for name in ("proteins", "residues", "draws", "step", "weights", "precision"):
            assert found[name] == indexed[name]
        error = max(result["likelihoods"]["elbo"]["nll_standard_error"] for result in (indexed, found))
        assert found["likelihoods"]["elbo"]["nll_per_residue"] == pytest.approx(
            indexed["likelihoods"]["elbo"]["nll_per_residue"], abs=6 * error
        )
        assert found["unigram_perplexity"] == pytest.approx(indexed["unigram_perplexity"])
        few = evaluate(model, str(fasta), 1, 2)
        assert (few["proteins"], few["residues"]) == (2, sum(map(len, proteins[:2])))
        fasta.write_text(">good\nMKT\n>masked\nM_T\n")
        with pytest.raises(ValueError, match=r"^masked: has masks"):
            evaluate(model, str(fasta), 1, 2)
