"""Encoders read back from a run's checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from d2plm_megatron.config import Data, Model, Recipe, Train
from d2plm_megatron.inference.encoders import load_encoder
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.training.trainer import Trainer


def test_kernels_are_those_of_this_machine_whatever_the_run_asked_for(
    one_process: Processes, write_proteins: Callable[..., Path], tmp_path: Path
) -> None:
    """A run that was trained with Transformer Engine is scored and sampled from on a laptop."""
    recipe = Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 8)), max_length_residues=40, tokens_per_pack=64),
        train=Train(max_steps=1, precision="fp32", global_batch_tokens=64),
    )
    trainer = Trainer.of(recipe, one_process)
    trainer.fit()
    checkpoint = Checkpoint.open(RunFolder(tmp_path / recipe.name).newest_first()[0])
    on_a_gpu = replace(checkpoint, recipe=replace(recipe, model=replace(recipe.model, backend="te")))
    found = load_encoder(on_a_gpu, EMA, "fp32", one_process.device)
    for weight, value in zip(found.parameters(), trainer.engine.ema.values, strict=True):
        assert torch.equal(weight.flatten(), value)
