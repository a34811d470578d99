"""Generation up to the encoder: what is said of a request, and what is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from d2plm_megatron.generation.generate import generate
from d2plm_megatron.inference import model as inference
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.sampling.config import SamplingConfig

CONFIG = SamplingConfig(
    num_sequences=3, shortest=20, longest=30, num_steps=4, temperature=1.0, seed=0, tokens_per_pack=64
)


@pytest.mark.parametrize(("longest", "said"), [(30, ""), (31, "note: 31 residues were asked for, and training saw")])
def test_lengths_beyond_the_training_are_taken_with_a_word(
    longest: int,
    said: str,
    write_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    recipe = Recipe(model=MODEL_SIZES["tiny"], data=Data(max_length_residues=30))
    checkpoint = Checkpoint.open(write_checkpoint(RunFolder(tmp_path / "run"), 1, recipe=recipe))
    monkeypatch.setattr(inference.encoders, "load_encoder", lambda *args: None)
    monkeypatch.setattr(TrainedModel, "logits", lambda model, noisy: torch.zeros(len(noisy.tokens_T), alphabet.SIZE))
    with TrainedModel.open(checkpoint) as model:
        made = generate(model, replace(CONFIG, longest=longest), tmp_path / "out.fasta")
    assert len(made.sequences) == 3
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == bool(said)
