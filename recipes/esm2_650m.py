"""ESM-2 with 650 million parameters."""

from dataclasses import replace

from d2plm_megatron.app import main
from d2plm_megatron.config import MODEL_SIZES, Recipe
from recipes import esm2_8m


def recipe() -> Recipe:
    """ESM-2's architecture and objective, 651 million parameters."""
    return replace(esm2_8m.recipe(), name="esm2_650m", model=MODEL_SIZES["esm2_650m"])


if __name__ == "__main__":
    main(recipe)
