"""Small encoders, and what comes out of them."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.config import MODEL_SIZES, Model, Parallel
from d2plm_megatron.model import weights
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.parallel.processes import Processes

SMALL = {
    "swiglu": Model(num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=96),
    "time": Model(num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=96, time_conditioning=True),
    "esm": Model(**{**vars(MODEL_SIZES["esm2_8m"]), "num_layers": 2, "hidden_size": 80}),
}
"""One encoder of each kind: the diffusion encoder, with time, and ESM-2's."""


@pytest.fixture(params=list(SMALL))
def kind(request: pytest.FixtureRequest) -> str:
    """The name of each of them."""
    return request.param


@pytest.fixture(autouse=True)
def no_process_group_is_left() -> Iterator[None]:
    yield
    assert not dist.is_initialized()


@pytest.fixture
def build(one_process: Processes) -> Callable[..., Encoder]:
    """Encoders with initial weights, of a kind by name or of any Model.

    build("swiglu", seed=1, precision="bf16")
    """

    def build(model: str | Model, seed: int = 0, precision: str = "fp32") -> Encoder:
        shape = SMALL[model] if isinstance(model, str) else model
        encoder = Encoder(shape, transformer_config(shape, Parallel(), precision, "torch"), "torch")
        weights.initialise(encoder, shape, seed)
        return encoder

    return build


@pytest.fixture
def logits_of() -> Callable[..., Tensor]:
    """Logits [T, V] of a pack that is shown as it is.

    logits_of(encoder, pack, times=[0.1, 0.9])
    """

    def run(encoder: Encoder, pack: TokenBatch, times: Sequence[float] | None = None) -> Tensor:
        times_S = torch.tensor(times or [0.0] * len(pack.lengths_S), dtype=torch.float64)
        noisy = NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=pack.scored_T)
        return encoder(noisy)[0]

    return run
