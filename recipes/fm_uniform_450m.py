"""Discrete flow matching from random residues: fm_450m with the uniform source and the loss that is a bound."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import FlowMatching, Recipe
from recipes import fm_450m


def recipe() -> Recipe:
    """Discrete flow matching from random residues, 441 million parameters: fm_450m with another source and loss."""
    objective = FlowMatching(source="uniform", loss="generalised_kl", schedule="linear")
    return replace(fm_450m.recipe(), name="fm_uniform_450m", objective=objective)


if __name__ == "__main__":
    main(recipe)
