"""Discrete flow matching small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Discrete flow matching as in fm_450m, with 1.6 million parameters, for a CPU."""
    return vary(
        "absorbing_tiny",
        "model.time_conditioning=true",
        "objective=flow_matching",
        "objective.source=mask",
        "objective.loss=cross_entropy",
        "objective.schedule=polynomial:2",
        name="fm_tiny",
    )


if __name__ == "__main__":
    main(recipe)
