"""ESM-2 with 3 billion parameters, every layer split over two GPUs, trained as in Lin et al. 2023."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, Data, MaskedLM, Model, Optimizer, Parallel, Recipe, Train


def recipe() -> Recipe:
    """ESM-2's architecture and objective, 2.84 billion parameters (36 layers of width 2560).

    Schedule, batch and optimizer are those of Lin et al. (Science 379:1123, 2023): 2,000 steps of warm-up, then a
    line to a tenth at 90% of 500,000 steps of 2 million tokens; clipping and EMA are ours. For 2, 4, ... 512 GPUs
    of 80 GB: 41 GiB each of two, 20 of 512, by --dry-run.
    """
    return Recipe(
        name="esm2_3b",
        model=Model(
            num_layers=36,
            hidden_size=2560,
            num_attention_heads=40,
            ffn_hidden_size=10240,
            activation="gelu",
            normalization="layernorm",
            bias=True,
            head="esm",
        ),
        objective=MaskedLM(mask_probability=0.15, mask_fraction=0.8, random_fraction=0.1),
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
        optimizer=Optimizer(
            lr=4e-4,
            schedule="linear",
            warmup_steps=2000,
            decay_steps=0.9,
            min_lr_ratio=0.1,
            beta1=0.9,
            beta2=0.98,
            eps=1e-8,
            weight_decay=0.01,
        ),
        ema=EMA(decay=0.9999),
        train=Train(max_steps=500_000, global_batch_tokens=2_097_152, precision="bf16"),
        parallel=Parallel(tensor=2, sequence=True, pipeline=1, sharding="optimizer"),
    )


if __name__ == "__main__":
    main(recipe)
