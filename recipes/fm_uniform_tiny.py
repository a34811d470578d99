"""Discrete flow matching from random residues, small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Discrete flow matching as in fm_uniform_450m, with 1.6 million parameters, for a CPU."""
    return vary(
        "fm_tiny",
        "objective.source=uniform",
        "objective.loss=generalised_kl",
        "objective.schedule=linear",
        "objective.posterior=bayes",
        name="fm_uniform_tiny",
    )


if __name__ == "__main__":
    main(recipe)
