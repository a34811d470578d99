"""Masked language modelling with the encoder of absorbing_450m."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, Data, MaskedLM, Model, Optimizer, Parallel, Recipe, Train


def recipe() -> Recipe:
    """Masked language modelling of 15% of the residues, 403 million parameters: the encoder of absorbing_450m."""
    return Recipe(
        name="mlm_450m",
        model=Model(num_layers=24, hidden_size=1024, num_attention_heads=16, ffn_hidden_size=4096),
        objective=MaskedLM(mask_probability=0.15, mask_fraction=0.8, random_fraction=0.1),
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
