"""Trained models, opened and asked."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from d2plm_megatron.config import (
    Parallel,
    Recipe,
)
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.parallel.megatron import parallel_state
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.training.trainer import Trainer

PROTEINS = ["MKTVRQGLLAGVSERTIDPK", "LAGVSERTIDPKQNFYMHWCXB" * 2, "M", "GGSGGSWWY" * 5, "ACDEFGHIKLMNPQRSTVWY"]
KINDS = ("absorbing", "timed", "uniform", "mlm")

ROUNDING = 2e-5
"""Of hidden states and log-probabilities of the models here, which are of the size of 1, in fp32."""


def closeness(found: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(found, other, strict=True))


def test_kernels_are_those_of_this_machine_whatever_the_run_asked_for(
    tiny_recipe: Callable[..., Recipe], write_proteins: Callable[..., Path], tmp_path: Path
) -> None:
    """A run that was trained with Transformer Engine is scored and sampled from on a laptop."""
    of_run = tiny_recipe("absorbing", write_proteins([40] * 8), tmp_path)
    with parallel_context() as processes:
        trainer = Trainer.of(of_run, processes)
        trainer.fit()
        checkpoint = Checkpoint.open(RunFolder(tmp_path / "absorbing").newest_first()[0])
        on_a_gpu = replace(checkpoint, recipe=replace(of_run, model=replace(of_run.model, backend="te")))
        with TrainedModel.open(on_a_gpu) as model:  # beside what is trained
            for weight, value in zip(model.encoder.parameters(), trainer.engine.ema.values, strict=True):
                assert torch.equal(weight.flatten(), value)


@pytest.mark.parametrize("closed", [*permutations(range(3))], ids=str)
def test_models_are_opened_together_and_closed_in_any_order(closed, trained, capfd) -> None:
    paths = [trained("absorbing"), trained("mlm"), trained("absorbing")]
    alone = []
    for path in paths:
        with TrainedModel.open(path) as model:
            alone.append(model.log_probs(PROTEINS))
    assert not parallel_state.model_parallel_is_initialized()
    models = [TrainedModel.open(path) for path in paths]
    for number in closed:
        for model, expected in zip(models, alone, strict=True):
            if model._encoder is not None:
                assert closeness(model.log_probs(PROTEINS), expected) == 0
        models[number].close()
        with pytest.raises(ValueError, match="this model was closed; open it again"):
            models[number].log_probs(PROTEINS)
    assert not parallel_state.model_parallel_is_initialized() and not torch.distributed.is_initialized()
    assert closeness(alone[0], alone[1]) > 0.01


def test_what_cannot_be_opened(trained, tmp_path: Path) -> None:
    for options, message in (
        ({"weights": "emma"}, "weights=emma: allowed are ema, raw; did you mean ema"),
        ({"precision": "fp16"}, "precision=fp16: allowed are"),
        ({"device": "cuda"}, "device=cuda: here it is cpu"),
        ({"parallel": Parallel(tensor=2)}, "needs a multiple of 2 processes, but there are 1"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainedModel.open(trained("absorbing"), **options)
    with pytest.raises(ValueError, match="no checkpoint"):
        TrainedModel.open(tmp_path)
    with parallel_context(), pytest.raises(ValueError, match="this process works with 1 x 1, which"):
        TrainedModel.open(trained("absorbing"), parallel=Parallel(tensor=2))
    assert not torch.distributed.is_initialized()


def test_an_error_inside_leaves_nothing_behind(trained) -> None:
    with pytest.raises(KeyError), TrainedModel.open(trained("absorbing")), TrainedModel.open(trained("mlm")):
        raise KeyError
    assert not torch.distributed.is_initialized()


def test_shapes(trained) -> None:
    with TrainedModel.open(trained("absorbing")) as model:
        for layer in (-3, 0, 1, 2, -1):
            found = model.embed(PROTEINS, layer=layer)
            assert [states.shape for states in found] == [(len(protein), 32) for protein in PROTEINS]
            assert all(states.dtype == np.float32 for states in found)
        [mean, *_] = model.embed(PROTEINS, mean=True)
        assert mean.shape == (32,) and np.allclose(mean, found[0].mean(0))
        assert closeness(model.embed(PROTEINS, layer=2), found) == 0
        assert closeness(model.embed(PROTEINS, layer=-3), model.embed(PROTEINS, layer=0)) == 0
        log_probs = model.log_probs(PROTEINS)
        assert [values.shape for values in log_probs] == [(len(protein), 20) for protein in PROTEINS]
        assert all(np.allclose(np.exp(values).sum(-1), 1, atol=1e-5) for values in log_probs)
        for layer in (-4, 3):
            with pytest.raises(ValueError, match=f"layer={layer}: must lie between -3 and 2"):
                model.embed(PROTEINS, layer=layer)
        assert model.embed([]) == model.log_probs([]) == model.perplexity([]) == []


def test_hidden_states_are_those_that_lead_to_the_logits(trained) -> None:
    """The embeddings are rows of the table, and the last layer's, mapped to letters, are what `log_probs` gives."""
    with TrainedModel.open(trained("absorbing")) as model:
        table = model.encoder.embedding.word_embeddings.weight
        ids = torch.from_numpy(alphabet.encode(PROTEINS[0]).astype(np.int64))
        assert np.array_equal(model.embed(PROTEINS[:1], layer=0)[0], table[ids].numpy())
        last = torch.from_numpy(model.embed(PROTEINS[:1])[0])
        logits = last @ model.encoder.output_layer.weight.T
        found = logits[:, alphabet.CANONICAL].log_softmax(-1).numpy()
        assert closeness([found], model.log_probs(PROTEINS[:1])) < ROUNDING
        assert closeness(model.embed(PROTEINS, layer=1), model.embed(PROTEINS, layer=2)) > 0.1


def test_columns_are_in_the_order_of_the_letters(trained) -> None:
    with TrainedModel.open(trained("mlm")) as model:
        [pack] = pack_sequences(["MK_VR"]).packs
        logits_TV = model.logits(readouts.as_it_is(pack, model.path, None))
        [found] = model.log_probs(["MK_VR"])
        for column, letter in enumerate(alphabet.CANONICAL_LETTERS):
            of_letter = logits_TV[3, alphabet.TOKENS.index(letter)] - logits_TV[3, alphabet.CANONICAL].logsumexp(-1)
            assert found[2, column] == pytest.approx(float(of_letter), abs=1e-5)


def test_a_mask_hides_its_letter(trained) -> None:
    with TrainedModel.open(trained("absorbing")) as model:
        [masked], [other] = model.log_probs(["MKTV_RQG"]), model.log_probs(["MKTVARQG"])
        assert np.abs(masked - other).max() > 1e-3
    with TrainedModel.open(trained("uniform")) as model:
        assert len(model.log_probs(["MKTV"])) == 1
        for ask in (model.log_probs, model.embed):
            with pytest.raises(ValueError, match=r"^P2: has masks \(_\), which this model cannot read"):
                ask([("P1", "MK"), ("P2", "M_K")])


def test_time_is_that_at_which_as_much_is_masked(trained) -> None:
    with TrainedModel.open(trained("timed")) as model:
        [pack] = pack_sequences(["MKTV", "M_TV", "____"]).packs
        assert readouts.as_it_is(pack, model.path, None).times_S.tolist() == pytest.approx([1, 0.75, 0])
        [pack] = pack_sequences(["M_TVXXXX", "XX"]).packs  # X is never masked in training, and does not count
        assert readouts.as_it_is(pack, model.path, None).times_S.tolist() == pytest.approx([0.75, 1])
        assert closeness(model.log_probs(["M_TV"]), model.log_probs(["M_TV"], time=0.75)) == 0
        assert closeness(model.log_probs(["M_TV"]), model.log_probs(["M_TV"], time=0.2)) > 0
        assert closeness(model.embed(["MKTV"]), model.embed(["MKTV"], time=1.0)) == 0
        with pytest.raises(ValueError, match=r"time=1.5: must lie between 0.0 and 1.0"):
            model.embed(["MKTV"], time=1.5)


@pytest.mark.parametrize("name", KINDS)
def test_proteins_get_in_company_what_they_get_alone(name: str, trained) -> None:
    """In any order and pack; what differs is how a matrix product of another size is rounded, and no noise."""
    with TrainedModel.open(trained(name)) as model:
        orders = [PROTEINS, PROTEINS[::-1], [*PROTEINS[2:], *PROTEINS[:2]]]
        for ask in (model.embed, model.log_probs, model.perplexity):
            alone = {protein: np.asarray(ask([protein])[0]) for protein in PROTEINS}
            for order in orders:
                for tokens_per_pack in (60, 8192):
                    found = map(np.asarray, ask(order, tokens_per_pack=tokens_per_pack))
                    for protein, values in zip(order, found, strict=True):
                        assert np.allclose(values, alone[protein], rtol=ROUNDING, atol=ROUNDING)


def test_perplexity_is_that_of_the_evaluation(trained, tmp_path: Path) -> None:
    """Protein by protein, in windows of what training has seen, with the same noise, whatever else is evaluated."""
    proteins = ["".join(np.random.default_rng(i).choice(list(alphabet.CANONICAL_LETTERS), 50)) for i in range(4)]
    (tmp_path / "x.fasta").write_text("".join(f">p\n{protein}\n" for protein in [*PROTEINS, *proteins]))
    with TrainedModel.open(trained("absorbing")) as model:
        config = EvaluationConfig(num_draws=3, seed=5)
        draws = evaluate(model, str(tmp_path / "x.fasta"), config).likelihoods["elbo"]
        found = np.log(model.perplexity([*proteins, *PROTEINS], num_draws=3, seed=5))
        expected = np.roll(draws.nats.sum(1) / draws.residues.sum(1), len(proteins))
        assert found == pytest.approx(expected, abs=ROUNDING)
        assert model.perplexity(proteins[:2], seed=1) != model.perplexity(proteins[:2])
        assert model.perplexity(proteins[:1] * 2)[0] == pytest.approx(model.perplexity(proteins[:1])[0], rel=1e-4)


def test_what_has_no_perplexity_is_named(trained) -> None:
    with TrainedModel.open(trained("absorbing")) as model:
        with pytest.raises(ValueError, match=r"^sequence_2: has masks \(_\), and a perplexity is of residues"):
            model.perplexity(["MK", "M_"])
        with pytest.raises(ValueError, match=r"^sequence_2: has no canonical residue"):
            model.perplexity(["MK", "XX"])
        with pytest.raises(ValueError, match="num_draws=0: must be at least 1"):
            model.perplexity(["MK"], num_draws=0)


@pytest.mark.parametrize("name", KINDS)
def test_generated_proteins(name: str, trained) -> None:
    with TrainedModel.open(trained(name)) as model:
        found = model.generate(num_sequences=5, length=(20, 30), num_steps=4)
        assert found == model.generate(num_sequences=5, length=(20, 30), num_steps=4)
        assert found[:2] == model.generate(num_sequences=2, length=(20, 30), num_steps=4, tokens_per_pack=40)
        assert all(20 <= len(protein) <= 30 and set(protein) <= set(alphabet.CANONICAL_LETTERS) for protein in found)
        assert {len(protein) for protein in model.generate(3, 7, num_steps=2)} == {7}
        assert model.generate(5, (20, 30), num_steps=4, seed=1) != found
        for options, message in (
            ({"num_sequences": 0}, "num_sequences=0: must be at least 1"),
            ({"length": 0}, "length=0"),
            ({"length": (9, 3)}, "length=9:3"),
            ({"temperature": 0.0}, "temperature=0.0: must be at least"),
            ({"num_steps": 0}, "num_steps=0: must be at least 1"),
        ):
            with pytest.raises(ValueError, match=message):
                model.generate(**options)


@pytest.mark.parametrize("name", KINDS)
def test_prompts_are_filled(name: str, trained) -> None:
    prompts = ["MKT____vla", "W" + "_" * 30, "_C<mask>#?"]
    with TrainedModel.open(trained(name)) as model:
        found = model.generate(2, prompts=prompts, num_steps=4)
        assert found == model.generate(2, prompts=prompts, num_steps=4, tokens_per_pack=16)
        for protein, pattern in zip(found, ["MKT....VLA"] * 2 + ["W" + "." * 30] * 2 + [".C..."] * 2, strict=True):
            assert re.fullmatch(pattern.replace(".", f"[{alphabet.CANONICAL_LETTERS}]"), protein)
        assert found[2] != found[3]
        for options, message in (
            ({"prompts": ["MK_", "MJ_"]}, "^prompt 2: 'J' at position 2 is no canonical residue"),
            ({"prompts": ["MKT"]}, "^prompt 1, MKT: write _ for blanks, or give strength"),
            ({"prompts": ["MK_"], "strength": 0.5}, "^prompt 1, MK_: leave strength out"),
            ({"prompts": ["MKT"], "strength": 0}, "^strength=0: must be above 0"),
            ({"prompts": []}, "^prompts: there are none"),
        ):
            with pytest.raises(ValueError, match=message):
                model.generate(**options)


@pytest.mark.parametrize("name", KINDS)
def test_strength_is_the_share_of_residues_that_is_noised(name: str, trained) -> None:
    """The model has learnt next to nothing: what is noised seldom comes back as it was."""
    start = "MKTVRQGLLAGVSERTIDPK" * 10
    with TrainedModel.open(trained(name)) as model:
        for strength, least, most in ((0.01, 0.95, 1.0), (0.3, 0.62, 0.82), (1.0, 0.0, 0.15)):
            if not model.path.has_masks and strength < 1:  # any residue may be doubted: see test_evidence.py
                continue
            variants = model.generate(4, prompts=[start], strength=strength, num_steps=4)
            same = [a == b for variant in variants for a, b in zip(variant, start, strict=True)]
            assert least <= sum(same) / len(same) <= most, strength
