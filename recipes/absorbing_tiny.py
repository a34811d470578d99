"""Absorbing diffusion small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MODEL_SIZES, Absorbing, Average, Data, Evaluate, Optimizer, Recipe, Train


def recipe() -> Recipe:
    """Absorbing diffusion with 0.8 million parameters, for a CPU: 400 steps in some minutes."""
    return Recipe(
        name="absorbing_tiny",
        model=MODEL_SIZES["tiny"],
        objective=Absorbing(),
        data=Data(max_length_residues=510, tokens_per_pack=1024),
        optimizer=Optimizer(learning_rate=4e-3, warmup_steps=30, beta2=0.95),
        average=Average(decay=0.99),
        train=Train(
            max_steps=400,
            global_batch_tokens=4096,
            rehearsal_pack_tokens=None,
            precision="fp32",
            save_every_steps=100,
        ),
        evaluate=Evaluate(every_steps=100, max_proteins=512),
    )


if __name__ == "__main__":
    main(recipe)
