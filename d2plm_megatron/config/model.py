"""The encoder, and the sizes that have a name."""

from dataclasses import dataclass

from d2plm_megatron.config.checks import check_options, option

WIDTHS = (1, 1 << 20)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The encoder."""

    num_layers: int = option(24, "transformer layers", (1, 1000))
    hidden_size: int = option(1024, "width of the residual stream", WIDTHS)
    num_attention_heads: int = option(16, "attention heads; must divide hidden_size", WIDTHS)
    ffn_hidden_size: int = option(4096, "width inside the feed-forward block", WIDTHS)
    activation: str = option("swiglu", "swiglu (gated) or gelu (ESM-2's)", ("swiglu", "gelu"))
    normalization: str = option("rmsnorm", "rmsnorm or layernorm (ESM-2's)", ("rmsnorm", "layernorm"))
    bias: bool = option(False, "biases in the linear layers (ESM-2 has them)")
    head: str = option("linear", "linear, or esm: dense, GELU, LayerNorm and the tied embedding", ("linear", "esm"))
    time_conditioning: bool = option(False, "adaLN-zero: every layer sees the time t of its protein")
    init_std: float = option(0.02, "standard deviation of the initial weights", (1e-6, 10.0))
    backend: str = option(
        "auto",
        "kernels: te (Transformer Engine), torch, or auto (te for bf16 where it can run)",
        ("auto", "te", "torch"),
    )

    def __post_init__(self) -> None:
        check_options(self, "model.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"model.num_attention_heads={self.num_attention_heads}: "
                f"must divide model.hidden_size={self.hidden_size}"
            )
        if self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"model.hidden_size={self.hidden_size}: the size of a head, hidden_size / num_attention_heads = "
                f"{self.hidden_size // self.num_attention_heads}, must be even for rotary positions"
            )


def _esm2(num_layers: int, hidden_size: int, num_attention_heads: int) -> Model:
    return Model(
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_attention_heads=num_attention_heads,
        ffn_hidden_size=4 * hidden_size,
        activation="gelu",
        normalization="layernorm",
        bias=True,
        head="esm",
    )


MODEL_SIZES: dict[str, Model] = {
    "tiny": Model(num_layers=4, hidden_size=128, num_attention_heads=8, ffn_hidden_size=344, init_std=0.08),
    "450m": Model(),
    "450m_time": Model(time_conditioning=True),
    "esm2_8m": _esm2(6, 320, 20),
    "esm2_35m": _esm2(12, 480, 20),
    "esm2_150m": _esm2(30, 640, 20),
    "esm2_650m": _esm2(33, 1280, 20),
    "esm2_3b": _esm2(36, 2560, 40),
    "esm2_15b": _esm2(48, 5120, 40),
}
"""Named sizes, chosen with `model=NAME`. The esm2_ ones have ESM-2's exact architecture and parameter count."""
