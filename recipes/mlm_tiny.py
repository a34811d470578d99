"""Masked language modelling small enough for a CPU."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MaskedLM, Recipe
from recipes import absorbing_tiny


def recipe() -> Recipe:
    """Masked language modelling with 0.8 million parameters, for a CPU."""
    return replace(absorbing_tiny.recipe(), name="mlm_tiny", objective=MaskedLM())


if __name__ == "__main__":
    main(recipe)
