"""A model that has learnt a family knows which of its positions may not change."""

from pathlib import Path

import numpy as np

from d2plm_megatron.config import EMA, Absorbing, Data, Model, Optimizer, Recipe, Train
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.effects import log_odds
from d2plm_megatron.training.trainer import Trainer

ANCESTOR = "MKTWRQGCLAHVSERYIDPK"
CONSERVED = np.array([0, 3, 4, 7, 10, 13, 15, 19])


def test_conserved_positions_suffer_most(tmp_path: Path) -> None:
    """A family whose other positions are even odds: of these nothing is to be known."""
    generator, ancestor = np.random.default_rng(0), alphabet.encode(ANCESTOR)
    family = generator.integers(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, (400, len(ancestor)), dtype=np.uint8)
    family[:, CONSERVED] = ancestor[CONSERVED]
    with IndexedWriter(tmp_path / "family") as writer:
        for residues in family:
            writer.add(residues)
    recipe = Recipe(
        name="run",
        output=str(tmp_path),
        model=Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        objective=Absorbing(),
        data=Data(train=str(tmp_path / "family"), max_length_residues=20, tokens_per_pack=512),
        optimizer=Optimizer(lr=2e-2, warmup_steps=5),
        ema=EMA(decay=0.9),
        train=Train(max_steps=120, precision="fp32", global_batch_tokens=512),
    )
    with parallel_context() as processes:
        Trainer.of(recipe, processes).fit()
    with TrainedModel.open(tmp_path / "run") as model:
        odds = log_odds(model, "masked", ancestor, range(len(ancestor)), 20, 512, lambda number: None)
    mean = odds.sum(1) / 19  # over all other residues
    others = np.setdiff1d(np.arange(len(ancestor)), CONSERVED)
    assert mean[CONSERVED].max() < mean[others].min() - 0.5
