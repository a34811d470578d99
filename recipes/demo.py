"""The run of `make demo`: absorbing diffusion on families of proteins that evolved on the computer."""

from dataclasses import replace

from d2plm_megatron.app import main
from d2plm_megatron.config import Average, Evaluate, Recipe
from recipes import absorbing_tiny


def recipe() -> Recipe:
    """Absorbing diffusion with 0.8 million parameters, in about two minutes on two cores."""
    parent = absorbing_tiny.recipe()
    return replace(
        parent,
        name="demo",
        data=replace(parent.data, max_length_residues=254),
        average=Average(decay=0.98),
        train=replace(parent.train, max_steps=300, global_batch_tokens=4096),
        evaluate=Evaluate(every_steps=50, max_proteins=128),
    )


if __name__ == "__main__":
    main(recipe)
