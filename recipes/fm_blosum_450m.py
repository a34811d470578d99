"""Flow matching through similar residues: fm_450m along the path that BLOSUM62 induces (arXiv:2412.03487)."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, Data, MetricFlow, Model, Optimizer, Parallel, Recipe, Train


def recipe() -> Recipe:
    """Flow matching through similar residues, 441 million parameters: fm_450m along another path."""
    return Recipe(
        name="fm_blosum_450m",
        model=Model(
            num_layers=24, hidden_size=1024, num_attention_heads=16, ffn_hidden_size=4096, time_conditioning=True
        ),
        objective=MetricFlow(posterior="bayes"),
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
        optimizer=Optimizer(
            lr=4e-4, schedule="cosine", warmup_steps=2000, min_lr_ratio=0.1, beta1=0.9, beta2=0.98, weight_decay=0.01
        ),
        ema=EMA(decay=0.9999),
        train=Train(max_steps=100_000, global_batch_tokens=1_048_576, precision="bf16"),
        parallel=Parallel(tensor=1, pipeline=1, sharding="optimizer"),
    )


if __name__ == "__main__":
    main(recipe)
