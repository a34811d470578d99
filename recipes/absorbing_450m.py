"""Absorbing diffusion, 403 million parameters."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, MODEL_SIZES, Absorbing, Data, Optimizer, Recipe, Train


def recipe() -> Recipe:
    """Absorbing diffusion with the ELBO as loss, 403 million parameters (24 layers of width 1024).

    A million tokens per step in 128 packs: for 1, 2, 4, ... 128 data-parallel GPUs as it is.
    """
    return Recipe(
        name="absorbing_450m",
        model=MODEL_SIZES["450m"],
        objective=Absorbing(),
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
        optimizer=Optimizer(lr=4e-4, warmup_steps=2000, beta2=0.98, weight_decay=0.01),
        ema=EMA(decay=0.9999),
        train=Train(max_steps=100_000, global_batch_tokens=1_048_576),
    )


if __name__ == "__main__":
    main(recipe)
