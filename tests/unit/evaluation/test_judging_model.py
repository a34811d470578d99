"""What a model that did not generate proteins says about them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Data, Model, Parallel, Train
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.evaluation.judging_model import Question, _means
from d2plm_megatron.evaluation.samples.panel import build_panel
from d2plm_megatron.runs.checkpoint import Checkpoint
from tests.natural import written


def tiny(write_proteins: Callable[..., Path], folder: Path) -> Recipe:
    return Recipe(
        output=str(folder),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 60)), max_length_residues=100, tokens_per_pack=1024),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=1024),
    )


def question(checkpoint: Checkpoint, num_draws: int, seed: int = 0, window: int | None = None) -> Question:
    return Question(
        checkpoint=checkpoint,
        weights="ema",
        precision=None,
        parallel=Parallel(),
        num_draws=num_draws,
        seed=seed,
        window=window,
        tokens_per_pack=1024,
    )


def test_a_model_tells_its_perplexity_and_how_far_embeddings_are(
    write_proteins: Callable[..., Path], natural: list[str], tmp_path: Path
) -> None:
    samples = written(tmp_path / "samples.fasta", [8 * "MKTAYIAKQR"] * 20)
    reference = written(tmp_path / "reference.fasta", natural[:60])
    panel, run = build_panel(samples, str(reference)), train(tiny(write_proteins, tmp_path))
    with TrainedModel.open(run) as model:
        one_by_one = model.perplexity(panel.matched["natural"], num_draws=2)
        checkpoint = model.checkpoint
    found, about, is_main = question(checkpoint, num_draws=2).ask(panel)
    assert is_main and about["draws"] == 2 and about["window"] == 100 and about["precision"] == "fp32"
    lengths = np.array(list(map(len, panel.matched["natural"])))
    expected = np.exp((np.log(one_by_one) * lengths).sum() / lengths.sum())
    assert found["natural"]["model_perplexity"].value == pytest.approx(expected)
    assert found["samples"]["frechet"].value > 2 * found["natural"]["frechet"].value


def test_a_model_is_asked_about_long_proteins_as_evaluate_asks(
    write_proteins: Callable[..., Path], natural: list[str], tmp_path: Path
) -> None:
    run = train(tiny(write_proteins, tmp_path))
    samples = written(tmp_path / "samples.fasta", [natural[number] + natural[number + 1] for number in range(10)])
    panel = build_panel(samples, str(written(tmp_path / "reference.fasta", natural[10:40])))
    compared = written(tmp_path / "compared.fasta", panel.matched["samples"])
    with TrainedModel.open(run) as model:
        config = EvaluationConfig(num_draws=2, seed=3, window=40)
        expected = evaluate(model, str(compared), config).likelihoods["elbo"].perplexity
        [states] = model.embed([natural[0][:90]])
        assert _means(model, [natural[0][:90]], 200, 1024) == pytest.approx(states.mean(0)[None], abs=1e-6)
        halves = [natural[0][:40], natural[0][20:60]]
        first, second = model.embed(halves)
        by_hand = np.concatenate([first, second[20:]]).mean(0)
        assert _means(model, [natural[0][:60]], 40, 1024) == pytest.approx(by_hand[None], abs=1e-6)
        checkpoint = model.checkpoint
    found, _, _ = question(checkpoint, num_draws=2, seed=3, window=40).ask(panel)
    assert found["samples"]["model_perplexity"].value == pytest.approx(expected)
