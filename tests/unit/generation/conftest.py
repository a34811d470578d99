"""A tiny run, trained, to generate with."""

from pathlib import Path

import pytest

from benchmarks.random_proteins import write_proteins
from d2plm_megatron.config import Absorbing, Data, Model, Recipe, Train
from d2plm_megatron.training.run import train


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating")
    prefix = write_proteins(folder / "proteins", [30 + n % 9 for n in range(40)], 0)
    recipe = Recipe(
        name="tiny",
        output=str(folder),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        objective=Absorbing(),
        data=Data(train=str(prefix), max_length_residues=40, tokens_per_pack=256),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=256),
    )
    return train(recipe)
