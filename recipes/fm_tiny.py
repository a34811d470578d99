"""Discrete flow matching small enough for a CPU."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from recipes import absorbing_tiny, fm_450m


def recipe() -> Recipe:
    """Discrete flow matching as in fm_450m, with 1.6 million parameters, for a CPU."""
    parent = absorbing_tiny.recipe()
    return replace(
        parent,
        name="fm_tiny",
        model=replace(parent.model, time_conditioning=True),
        objective=fm_450m.recipe().objective,
    )


if __name__ == "__main__":
    main(recipe)
