"""The kernels of the GPU give what the plain ones give, in the precision that they have."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.config import MODEL_SIZES, Model, Parallel
from d2plm_megatron.model import backend as backend
from d2plm_megatron.model import weights
from d2plm_megatron.model.attention import PackedAttention, PackedProteins, packed_proteins
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.sharding import slices_by_parameter
from d2plm_megatron.parallel.processes import Processes

pytestmark = pytest.mark.gpu

LENGTHS = [37, 1, 300, 8, 1024, 129]
SMALL = {
    "swiglu": Model(num_layers=4, hidden_size=256, num_attention_heads=4, ffn_hidden_size=512),
    "time": Model(num_layers=4, hidden_size=256, num_attention_heads=4, ffn_hidden_size=512, time_conditioning=True),
    "esm": replace(MODEL_SIZES["esm2_8m"], num_layers=4),
}
NEEDS_TE = pytest.mark.skipif(not backend.HAVE_TE, reason="needs Transformer Engine")
EACH_KIND = pytest.mark.parametrize("kind", SMALL)


def build(kind: str, precision: str, kernels: str = "torch") -> Encoder:
    """An encoder on the GPU in which every weight matters; the same weights for all precisions and kernels."""
    model = SMALL[kind]
    encoder = Encoder(model, transformer_config(model, Parallel(), precision, kernels), kernels).cuda()
    weights.initialise(encoder, model, seed=0)
    parameters = dict(encoder.named_parameters())
    with torch.no_grad():
        for name, slices in slices_by_parameter(encoder).items():
            for slice_ in slices:  # drawn by the name in the whole model, which both layer specs share
                values = parameters[name].view(-1)[slice_.start : slice_.stop]
                values += 0.05 * weights.normal(slice_, 1, values.device).to(values.dtype)
    return encoder


def logits_of(encoder: Encoder, pack: TokenBatch, times: list[float]) -> Tensor:
    """[T, V] in fp32."""
    times_S = torch.tensor(times, dtype=torch.float64, device="cuda")
    pack = pack.to(torch.device("cuda"))
    return encoder(NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=pack.scored_T))[0]


def relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over norm of what is expected."""
    return float((found.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("head_size", [16, 20, 24, 64, 128])
def test_attention_and_gradients_in_bf16_are_those_of_fp32(
    head_size: int, make_pack: Callable[..., TokenBatch]
) -> None:
    pack = make_pack(LENGTHS).to(torch.device("cuda"))
    described = packed_proteins(pack, pack.sequence_T, "sbhd")
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (4, sum(LENGTHS), 1, 6, head_size)
    *inputs, upstream = torch.randn(shape, generator=generator, device="cuda").bfloat16()
    rounded = attention(inputs, upstream, described)
    exact = attention([x.float() for x in inputs], upstream.float(), described)
    for found, expected in zip(rounded, exact, strict=True):
        assert relative(found, expected) < 1e-2


def attention(inputs: list[Tensor], upstream: Tensor, described: PackedProteins) -> list[Tensor]:
    """What comes out, and the gradients of query, key and value."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    attended = PackedAttention(config=None)(*leaves, None, packed_seq_params=described)
    return [attended, *torch.autograd.grad(attended, leaves, upstream.reshape(attended.shape))]


@EACH_KIND
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 3e-2)])
def test_packed_proteins_are_as_alone_in_fp32(
    one_process: Processes, make_pack: Callable[..., TokenBatch], kind: str, precision: str, tolerance: float
) -> None:
    pack, times = make_pack(LENGTHS), [0.1, 0.3, 0.5, 0.7, 0.8, 0.9]
    together = logits_of(build(kind, precision), pack, times)
    exact = build(kind, "fp32")
    alone = [
        logits_of(exact, replace(make_pack([len(tokens)]), tokens_T=tokens), [time])
        for tokens, time in zip(pack.tokens_T.split(pack.lengths_S), times, strict=True)
    ]
    assert relative(together, torch.cat(alone)) < tolerance


@EACH_KIND
def test_proteins_do_not_see_each_other(
    one_process: Processes, make_pack: Callable[..., TokenBatch], kind: str
) -> None:
    encoder, pack, times = build(kind, "bf16"), make_pack(LENGTHS), [0.5] * len(LENGTHS)
    changed = replace(pack, tokens_T=torch.where(pack.sequence_T == 2, pack.tokens_T.flip(0), pack.tokens_T))
    before, after = logits_of(encoder, pack, times), logits_of(encoder, changed, times)
    assert torch.equal((before != after).any(-1).cpu(), pack.sequence_T == 2)


@NEEDS_TE
@EACH_KIND
def test_transformer_engine_gives_the_logits_of_torch(
    one_process: Processes, make_pack: Callable[..., TokenBatch], kind: str
) -> None:
    pack, times = make_pack(LENGTHS), [0.1, 0.3, 0.5, 0.7, 0.8, 0.9]
    expected, found = (logits_of(build(kind, "bf16", kernels), pack, times) for kernels in ("torch", "te"))
    assert relative(found, expected) < 3e-2


@NEEDS_TE
def test_gelu_is_esm2s_with_transformer_engine(one_process: Processes) -> None:
    """Megatron's fused one is the tanh approximation: off by less than bf16 rounds, yet another function."""
    assert not build("esm", "bf16", "te").config.bias_activation_fusion


@NEEDS_TE
@EACH_KIND
def test_transformer_engine_has_the_same_checkpoint(one_process: Processes, kind: str) -> None:
    places = []
    for kernels in ("torch", "te"):
        slices = slices_by_parameter(build(kind, "bf16", kernels))
        places.append({(slice_.name, slice_.whole_shape, slice_.offset) for held in slices.values() for slice_ in held})
    assert places[0] == places[1]
