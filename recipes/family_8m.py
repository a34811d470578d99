"""One family of proteins, some hundreds to thousands, for a single GPU; stops by itself."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Absorbing diffusion of one protein family with 7.5 million parameters, for one GPU; stops by itself.

    That is after five validations in a row in which the held-out proteins gained nothing.
    """
    return vary(
        "family_tiny",
        "model=esm2_8m",
        "data.max_length_residues=1022",
        "data.tokens_per_pack=16384",
        "optimizer.lr=4e-4",
        "train.global_batch_tokens=16384",
        "train.smoke_pack_tokens=2048",
        "train.precision=bf16",
        "train.smoke_pack_tokens=2048",
        "train.precision=bf16",
        name="family_8m",
    )


if __name__ == "__main__":
    main(recipe)
