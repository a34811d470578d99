"""Masked language modelling with the encoder of absorbing_450m."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MaskedLM, Recipe
from recipes import absorbing_450m


def recipe() -> Recipe:
    """Masked language modelling of 15% of the residues, 403 million parameters: the encoder of absorbing_450m."""
    return replace(absorbing_450m.recipe(), name="mlm_450m", objective=MaskedLM())


if __name__ == "__main__":
    main(recipe)
