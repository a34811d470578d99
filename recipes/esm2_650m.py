"""ESM-2 with 650 million parameters."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from recipes import esm2_8m


def recipe() -> Recipe:
    """ESM-2's architecture and objective, 651 million parameters; packs for up to 256 data-parallel GPUs."""
    return replace(
        esm2_8m.recipe(),
        name="esm2_650m",
        model=MODEL_SIZES["esm2_650m"],
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
    )


if __name__ == "__main__":
    main(recipe)
