"""Discrete flow matching from random residues, small enough for a CPU."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from recipes import fm_tiny, fm_uniform_450m


def recipe() -> Recipe:
    """Discrete flow matching as in fm_uniform_450m, with 1.6 million parameters, for a CPU."""
    return replace(fm_tiny.recipe(), name="fm_uniform_tiny", objective=fm_uniform_450m.recipe().objective)


if __name__ == "__main__":
    main(recipe)
