"""One family of proteins, some hundreds to thousands, small enough for a CPU; stops by itself."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Absorbing diffusion of one protein family with 0.8 million parameters, for a CPU; stops by itself.

    That is after five validations in a row in which the held-out proteins gained nothing.
    """
    return vary(
        "absorbing_tiny",
        "optimizer.lr=2e-3",
        "optimizer.warmup_steps=0.02",
        "train.max_steps=3000",
        "train.global_batch_tokens=4096",
        "validation.every_steps=50",
        "validation.patience=5",
        name="family_tiny",
    )


if __name__ == "__main__":
    main(recipe)
