"""The run of `make demo`: absorbing diffusion on families of proteins that evolved on the computer."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, Absorbing, Recipe, Validation
from recipes import absorbing_tiny


def recipe() -> Recipe:
    """Absorbing diffusion with 0.8 million parameters, some minutes on two cores.

    The weight "linear" learns faster here than the bound itself.
    """
    parent = absorbing_tiny.recipe()
    return replace(
        parent,
        name="demo",
        objective=Absorbing(weight="linear"),
        data=replace(parent.data, max_length_residues=254, tokens_per_pack=2048),
        optimizer=replace(parent.optimizer, lr=5e-3),
        ema=EMA(decay=0.98),
        train=replace(parent.train, max_steps=1200, global_batch_tokens=2048, save_every_steps=300),
        validation=Validation(every_steps=100, max_proteins=128),
    )


if __name__ == "__main__":
    main(recipe)
