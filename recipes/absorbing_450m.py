"""Absorbing diffusion, 403 million parameters."""

from d2plm_megatron.app import main
from d2plm_megatron.config import MODEL_SIZES, Absorbing, Recipe


def recipe() -> Recipe:
    """Absorbing diffusion with the ELBO as loss, 403 million parameters (24 layers of width 1024)."""
    return Recipe(name="absorbing_450m", model=MODEL_SIZES["450m"], objective=Absorbing())


if __name__ == "__main__":
    main(recipe)
