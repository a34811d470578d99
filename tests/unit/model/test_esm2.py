"""Our encoder is ESM-2: the logits and the gradients of Hugging Face's implementation, from the same weights."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import EsmConfig, EsmForMaskedLM

from benchmarks.plain_encoder import PlainEncoder
from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.config import MODEL_SIZES, Model
from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.proteins import alphabet

MODEL = Model(**{**vars(MODEL_SIZES["esm2_8m"]), "num_layers": 2})
LENGTHS = [34, 7, 1, 60, 21]


@pytest.fixture
def reference() -> EsmForMaskedLM:
    """ESM-2 8M with two layers; random weights, biases and norms too, so that each of them matters."""
    config = EsmConfig(
        vocab_size=alphabet.SIZE,
        hidden_size=MODEL.hidden_size,
        num_hidden_layers=MODEL.num_layers,
        num_attention_heads=MODEL.num_attention_heads,
        intermediate_size=MODEL.ffn_hidden_size,
        position_embedding_type="rotary",
        token_dropout=False,
        emb_layer_norm_before=False,
        pad_token_id=alphabet.PAD,
        mask_token_id=alphabet.MASK,
        layer_norm_eps=1e-5,
    )
    model = EsmForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_scale = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_scale else (0.3 if parameter.ndim == 1 else 0.08) * noise)
    return model


@pytest.fixture
def pack(make_pack: Callable[..., TokenBatch]) -> TokenBatch:
    return make_pack(LENGTHS)


def reference_logits(model: EsmForMaskedLM, pack: TokenBatch) -> Tensor:
    """Logits [T, V] of a pack's proteins, run as a padded batch."""
    tokens = pad_sequence(list(pack.tokens_T.split(pack.lengths_S)), batch_first=True, padding_value=alphabet.PAD)
    real = tokens != alphabet.PAD
    return model(input_ids=tokens, attention_mask=real.long()).logits[real]


def as_ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights or gradients of the reference, by our names and in our order; the embedding without the padded rows."""
    ours = {
        "embedding.word_embeddings.weight": tensors["esm.embeddings.word_embeddings.weight"],
        "output_projection.bias": tensors["lm_head.bias"],
    }
    modules = {
        "decoder.final_layernorm": "esm.encoder.emb_layer_norm_after",
        "head.dense": "lm_head.dense",
        "head.norm": "lm_head.layer_norm",
    }
    for number in range(MODEL.num_layers):
        layer, source = f"decoder.layers.{number}", f"esm.encoder.layer.{number}"
        modules |= {
            f"{layer}.input_layernorm": f"{source}.attention.LayerNorm",
            f"{layer}.self_attention.linear_proj": f"{source}.attention.output.dense",
            f"{layer}.pre_mlp_layernorm": f"{source}.LayerNorm",
            f"{layer}.mlp.linear_fc1": f"{source}.intermediate.dense",
            f"{layer}.mlp.linear_fc2": f"{source}.output.dense",
        }
        for kind in ("weight", "bias"):
            parts = [tensors[f"{source}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            by_head = [part.unflatten(0, (MODEL.num_attention_heads, -1)) for part in parts]
            ours[f"{layer}.self_attention.linear_qkv.{kind}"] = torch.cat(by_head, dim=1).flatten(0, 1)
    for name, source in modules.items():
        ours |= {f"{name}.{kind}": tensors[f"{source}.{kind}"] for kind in ("weight", "bias")}
    return ours


@torch.no_grad()
def load(encoder: Encoder, reference: EsmForMaskedLM) -> None:
    parameters = dict(encoder.named_parameters())
    theirs = as_ours({name: parameter.data for name, parameter in reference.named_parameters()})
    assert theirs.keys() == parameters.keys()
    for name, values in theirs.items():
        parameters[name][: len(values)] = values


def test_logits_are_esm2s(build, logits_of, reference: EsmForMaskedLM, pack: TokenBatch) -> None:
    encoder = build(MODEL)
    load(encoder, reference)
    expected = reference_logits(reference, pack)
    assert expected.std() > 1  # else the tolerance would be too wide
    torch.testing.assert_close(logits_of(encoder, pack), expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_esm2s(build, logits_of, reference: EsmForMaskedLM, pack: TokenBatch) -> None:
    encoder = build(MODEL)
    load(encoder, reference)
    predicted_T = torch.rand(len(pack.tokens_T), generator=torch.Generator().manual_seed(1)) < 0.15
    for logits in (logits_of(encoder, pack), reference_logits(reference, pack)):
        F.cross_entropy(logits[predicted_T], pack.tokens_T[predicted_T]).backward()
    expected = as_ours({name: parameter.grad for name, parameter in reference.named_parameters()})
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None
        difference = (parameter.grad[: len(expected[name])] - expected[name]).norm()
        # The softmax does not see what is added to all keys, so the gradient of their bias is rounding alone.
        assert difference < 1e-5 * expected[name].norm().clamp(min=1e-2), name


def test_plain_encoder_of_the_benchmarks_is_the_same_function(reference: EsmForMaskedLM, pack: TokenBatch) -> None:
    plain = PlainEncoder(MODEL)
    plain.load_state_dict(as_plain({name: parameter.data for name, parameter in reference.named_parameters()}))
    times_S = torch.zeros(len(LENGTHS), dtype=torch.float64)
    noisy = NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=pack.scored_T)
    torch.testing.assert_close(plain(noisy), reference_logits(reference, pack), rtol=1e-5, atol=1e-5)


def as_plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the reference by the names of the plain encoder."""
    plain = {"embedding.weight": tensors["esm.embeddings.word_embeddings.weight"], "bias": tensors["lm_head.bias"]}
    modules = {
        "norm": "esm.encoder.emb_layer_norm_after",
        "head_dense": "lm_head.dense",
        "head_norm": "lm_head.layer_norm",
    }
    for number in range(MODEL.num_layers):
        layer, source = f"layers.{number}", f"esm.encoder.layer.{number}"
        modules |= {
            f"{layer}.attention_norm": f"{source}.attention.LayerNorm",
            f"{layer}.out": f"{source}.attention.output.dense",
            f"{layer}.feed_forward.0": f"{source}.LayerNorm",
            f"{layer}.feed_forward.1": f"{source}.intermediate.dense",
            f"{layer}.feed_forward.3": f"{source}.output.dense",
        }
        for kind in ("weight", "bias"):
            parts = [tensors[f"{source}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            plain[f"{layer}.qkv.{kind}"] = torch.cat(parts)
    for name, source in modules.items():
        plain |= {f"{name}.{kind}": tensors[f"{source}.{kind}"] for kind in ("weight", "bias")}
    return plain
