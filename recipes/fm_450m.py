"""Discrete flow matching from masks, 441 million parameters: the schedule t^2 and the loss of arXiv:2407.15595."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import EMA, Data, FlowMatching, Model, Optimizer, Parallel, Recipe, Train


def recipe() -> Recipe:
    """Discrete flow matching from masks, 441 million parameters (24 layers of width 1024, time-conditioned)."""
    return Recipe(
        name="fm_450m",
        model=Model(
            num_layers=24, hidden_size=1024, num_attention_heads=16, ffn_hidden_size=4096, time_conditioning=True
        ),
        objective=FlowMatching(source="mask", loss="cross_entropy", schedule="polynomial:2"),
        data=Data(max_length_residues=1022, tokens_per_pack=8192),
        optimizer=Optimizer(
            lr=4e-4, schedule="cosine", warmup_steps=2000, min_lr_ratio=0.1, beta1=0.9, beta2=0.98, weight_decay=0.01
        ),
        ema=EMA(decay=0.9999),
        train=Train(max_steps=100_000, global_batch_tokens=1_048_576, precision="bf16"),
        parallel=Parallel(tensor=1, pipeline=1, sharding="optimizer"),
    )


if __name__ == "__main__":
    main(recipe)
