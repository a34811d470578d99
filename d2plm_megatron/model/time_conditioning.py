"""adaLN-zero (DiT, arXiv:2212.09748): every layer sees the time t of the protein that a token belongs to.

The features of t are fixed sinusoids and each layer learns its own map of them, where DiT puts a learned embedding that
all layers share: so no parameter is shared between pipeline stages, whose gradients Megatron would add up only after
the distributed optimizer has cut them differently in each stage, and every layout trains the same.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from d2plm_megatron.config.parameters import TIME_FEATURES
from d2plm_megatron.model.attention import PackedProteins
from d2plm_megatron.parallel.megatron import TransformerConfig, TransformerLayer
from d2plm_megatron.parallel.megatron.modules import mark_sequence_parallel

NAME = "modulation.linear."
"""In the name of every parameter that time conditioning adds."""

NUM_VECTORS, GATES = 6, (2, 5)
"""Vectors of a layer: shift, scale and gate of its attention, then of its feed-forward block."""

TIME_SCALE = 1000.0
"""Scales t in [0, 1] up before the sinusoids, whose frequencies go from 1 down to 1e-4: else they are near linear."""


def time_features(times_S: Tensor) -> Tensor:
    """[S] -> [S, C], float32: cosines and sines of t at C/2 frequencies."""
    half = TIME_FEATURES // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=times_S.device) / half)
    angles = TIME_SCALE * times_S.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class Modulation(torch.nn.Module):
    """The vectors that t gives to a layer: a linear map of the features, zero at first, one row per protein."""

    def __init__(self, config: TransformerConfig, num_vectors: int) -> None:
        super().__init__()
        self.num_vectors = num_vectors
        size = num_vectors * config.hidden_size
        self.linear = torch.nn.Linear(
            TIME_FEATURES, size, dtype=config.params_dtype, device=torch.cuda.current_device()
        )
        mark_sequence_parallel(self, config)

    def forward(self, features_SC: Tensor, sequence_T: Tensor) -> tuple[Tensor, ...]:
        """`num_vectors` tensors [T, 1, H]."""
        vectors_S = self.linear(features_SC.to(self.linear.weight.dtype))
        # An embedding lookup, because its backward adds up the tokens of a protein in a fixed order on a GPU too.
        vectors_T = F.embedding(sequence_T, vectors_S)
        return vectors_T[:, None].chunk(self.num_vectors, dim=-1)


def modulate(hidden: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """hidden (1 + scale) + shift, all [T, 1, H]."""
    return torch.addcmul(hidden + shift, hidden, scale)


class ConditionedLayer(TransformerLayer):
    """h + gate f(norm(h) (1 + scale) + shift), for f the attention and then the feed-forward block.

    Megatron passes `context` to every layer, meant for cross-attention; here it carries the time features [S, C].
    """

    def __init__(self, config: TransformerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.modulation = Modulation(config, NUM_VECTORS)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        context: Tensor | None = None,
        rotary_pos_emb: Tensor | None = None,
        packed_seq_params: PackedProteins | None = None,
        **unused: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """[T, 1, H] -> [T, 1, H], and the time features unchanged for the next layer."""
        assert packed_seq_params is not None
        vectors = self.modulation(context, packed_seq_params.sequence_T)
        attend = {"attention_mask": attention_mask, "rotary_pos_emb": rotary_pos_emb}
        normed = modulate(self.input_layernorm(hidden_states), *vectors[:2])
        output = _with_bias(self.self_attention(normed, packed_seq_params=packed_seq_params, **attend))
        hidden_states = torch.addcmul(hidden_states, vectors[2], output)
        normed = modulate(self.pre_mlp_layernorm(hidden_states), *vectors[3:5])
        return torch.addcmul(hidden_states, vectors[5], _with_bias(self.mlp(normed))), context


def _with_bias(output_and_bias: tuple[Tensor, Tensor | None]) -> Tensor:
    output, bias = output_and_bias
    return output if bias is None else output + bias
