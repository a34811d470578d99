"""Absorbing diffusion small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, MODEL_SIZES, Absorbing, Data, Optimizer, Recipe, Train, Validation


def recipe() -> Recipe:
    """Absorbing diffusion with 0.8 million parameters, for a CPU: 400 steps in some minutes."""
    return Recipe(
        name="absorbing_tiny",
        model=MODEL_SIZES["tiny"],
        objective=Absorbing(),
        data=Data(max_length_residues=510, tokens_per_pack=1024),
        optimizer=Optimizer(lr=1e-3, warmup_steps=30, beta2=0.95),
        ema=EMA(decay=0.99),
        train=Train(
            max_steps=400,
            global_batch_tokens=4096,
            smoke_pack_tokens=None,
            precision="fp32",
            save_every_steps=100,
        ),
        validation=Validation(every_steps=100, max_proteins=512),
    )


if __name__ == "__main__":
    main(recipe)
