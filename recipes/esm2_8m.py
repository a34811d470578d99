"""ESM-2 with 8 million parameters, trained as in Lin et al. 2023, on packed proteins."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, MODEL_SIZES, Data, MaskedLM, Optimizer, Recipe, Train


def recipe() -> Recipe:
    """ESM-2's architecture and objective, 8 million parameters.

    Two million tokens per step in 128 packs: for 1, 2, 4, ... 128 data-parallel GPUs as it is.
    """
    return Recipe(
        name="esm2_8m",
        model=MODEL_SIZES["esm2_8m"],
        objective=MaskedLM(),
        data=Data(max_length_residues=1022, tokens_per_pack=16384),
        optimizer=Optimizer(lr=4e-4, warmup_steps=2000, beta2=0.98, weight_decay=0.01),
        ema=EMA(decay=0.9999),
        train=Train(max_steps=500_000, global_batch_tokens=2_097_152),
    )


if __name__ == "__main__":
    main(recipe)
