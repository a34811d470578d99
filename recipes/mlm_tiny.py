"""Masked language modelling small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Masked language modelling with 0.8 million parameters, for a CPU."""
    return vary("absorbing_tiny", "objective=mlm", name="mlm_tiny")


if __name__ == "__main__":
    main(recipe)
