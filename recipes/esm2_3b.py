"""ESM-2 with 3 billion parameters, every layer split over two GPUs."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MODEL_SIZES, Data, Parallel, Recipe
from recipes import esm2_8m


def recipe() -> Recipe:
    """ESM-2's architecture and objective, 2.84 billion parameters, for 2, 4, ... 512 GPUs of 80 GB."""
    return replace(
        esm2_8m.recipe(),
        name="esm2_3b",
        model=MODEL_SIZES["esm2_3b"],
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
        parallel=Parallel(tensor=2, sequence=True),
    )


if __name__ == "__main__":
    main(recipe)
