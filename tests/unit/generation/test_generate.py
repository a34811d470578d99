"""Generation up to the encoder: what is said of a request, and what is written."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from d2plm_megatron.generation import generate as generation
from d2plm_megatron.generation.generate import Request, generate
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder

REQUEST = Request(
    num_sequences=3, shortest=20, longest=30, num_steps=4, temperature=1.0, seed=0, weights="ema",
    precision="fp32", tokens_per_pack=64,
)  # fmt: skip


@pytest.mark.parametrize(("longest", "said"), [(30, ""), (31, "note: 31 residues were asked for, and training saw")])
def test_lengths_beyond_the_training_are_taken_with_a_word(
    longest: int,
    said: str,
    write_checkpoint: Callable[..., Path],
    one_process: Processes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    recipe = Recipe(model=MODEL_SIZES["tiny"], data=Data(max_length_residues=30))
    checkpoint = Checkpoint.open(write_checkpoint(RunFolder(tmp_path / "run"), 1, recipe=recipe))
    monkeypatch.setattr(generation, "parallel_context", lambda parallel: nullcontext(one_process))
    monkeypatch.setattr(generation, "load_encoder", lambda *args: even_odds)
    made = generate(checkpoint, replace(REQUEST, longest=longest), tmp_path / "out.fasta")
    assert len(made.sequences) == 3
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == bool(said)


def even_odds(noisy):
    return torch.zeros(1, noisy.tokens_T.numel(), alphabet.SIZE)
