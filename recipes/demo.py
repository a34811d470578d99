"""The run of `make demo`: absorbing diffusion on families of proteins that evolved on the computer."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Absorbing diffusion with 0.8 million parameters, some minutes on two cores.

    The weight "linear" learns faster here than the bound itself.
    """
    return vary(
        "absorbing_tiny",
        "objective.weight=linear",
        "data.max_length_residues=254",
        "data.tokens_per_pack=2048",
        "optimizer.lr=5e-3",
        "ema.decay=0.98",
        "train.max_steps=1200",
        "train.global_batch_tokens=2048",
        "train.save_every_steps=300",
        "validation.every_steps=100",
        "validation.max_proteins=128",
        name="demo",
    )


if __name__ == "__main__":
    main(recipe)
