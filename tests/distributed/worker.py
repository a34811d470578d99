"""Run by torchrun: trains one tiny run after another, as the jobs in its argument say."""

import json
import sys

from d2plm_megatron.config import Absorbing, Average, Data, Evaluate, Model, Optimizer, Recipe, Train
from d2plm_megatron.overrides import resolve
from d2plm_megatron.parallel.processes import grouped, joined
from d2plm_megatron.training.trainer import Trainer

TINY = Recipe(
    model=Model(num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=128),
    objective=Absorbing(),
    data=Data(max_length_residues=80, tokens_per_pack=256, window_proteins=64),
    optimizer=Optimizer(learning_rate=2e-3, warmup_steps=2, decay_steps=8, epsilon=1e-6),
    average=Average(decay=0.9),
    train=Train(
        max_steps=6,
        global_batch_tokens=1024,
        rehearsal_pack_tokens=None,
        precision="fp32",
        log_every_steps=1,
        save_every_steps=100,
    ),
    evaluate=Evaluate(every_steps=3, max_proteins=24),
)

if __name__ == "__main__":
    with joined() as device:
        for overrides in json.loads(sys.argv[1]).values():
            recipe = resolve(TINY, overrides)
            with grouped(recipe.parallel, device) as processes:
                Trainer(recipe, processes).fit()
