"""ESM-2's encoder on packed proteins in plain PyTorch, without Megatron: what the same mathematics costs by itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.config import Model
from d2plm_megatron.proteins import alphabet

try:
    from torch.nn.attention import varlen
except ImportError:  # before torch 2.10
    varlen = None  # type: ignore[assignment]

ROTARY_BASE = 10_000.0


class PlainEncoder(nn.Module):
    """Embedding, pre-norm layers with rotary attention inside each protein, and ESM-2's head tied to the embedding.

    Args:
        model: one of the esm2_ sizes.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.head_size = model.hidden_size // model.num_attention_heads
        self.embedding = nn.Embedding(alphabet.SIZE, model.hidden_size)
        self.layers = nn.ModuleList(PlainLayer(model) for _ in range(model.num_layers))
        self.norm = nn.LayerNorm(model.hidden_size)
        self.head_dense = nn.Linear(model.hidden_size, model.hidden_size)
        self.head_norm = nn.LayerNorm(model.hidden_size)
        self.bias = nn.Parameter(torch.zeros(alphabet.SIZE))
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=model.init_std)

    def forward(self, noisy: NoisyBatch) -> Tensor:
        """Logits [T, V]."""
        bounds = noisy.clean.bounds_S
        rotation = rotary(noisy.clean.positions_T, self.head_size)
        hidden = self.embedding(noisy.tokens_T)
        for layer in self.layers:
            hidden = layer(hidden, rotation, noisy.clean.lengths_S, bounds)
        hidden = self.head_norm(F.gelu(self.head_dense(self.norm(hidden))))
        return F.linear(hidden, self.embedding.weight, self.bias)


class PlainLayer(nn.Module):
    """h + attention(norm(h)), then h + feed_forward(norm(h))."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.num_heads = model.num_attention_heads
        self.attention_norm = nn.LayerNorm(model.hidden_size)
        self.qkv = nn.Linear(model.hidden_size, 3 * model.hidden_size)
        self.out = nn.Linear(model.hidden_size, model.hidden_size)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(model.hidden_size),
            nn.Linear(model.hidden_size, model.ffn_hidden_size),
            nn.GELU(),
            nn.Linear(model.ffn_hidden_size, model.hidden_size),
        )

    def forward(
        self, hidden: Tensor, rotation: tuple[Tensor, Tensor], lengths_S: tuple[int, ...], bounds: Tensor
    ) -> Tensor:
        """[T, H] -> [T, H]; `rotation` from `rotary`, `bounds` int32 [S + 1], where each protein begins."""
        projected = self.qkv(self.attention_norm(hidden)).view(len(hidden), 3, self.num_heads, -1)
        query, key, value = projected.unbind(1)
        attended = attend(rotate(query, rotation), rotate(key, rotation), value, lengths_S, bounds)
        hidden = hidden + self.out(attended.reshape(hidden.shape))
        return hidden + self.feed_forward(hidden)


def rotary(positions_T: Tensor, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions, both [T, 1, head_size]."""
    exponents = torch.arange(0, head_size, 2, device=positions_T.device) / head_size
    angles = positions_T[:, None] * ROTARY_BASE**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates [T, heads, d] by its positions, in x's precision."""
    cosine, sine = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


def attend(query: Tensor, key: Tensor, value: Tensor, lengths_S: tuple[int, ...], bounds: Tensor) -> Tensor:
    """Attention within each protein, [T, heads, d]: one kernel on a GPU in 16 bits, else protein by protein."""
    if query.is_cuda and query.dtype != torch.float32 and varlen is not None:
        longest = max(lengths_S)
        packed = varlen.varlen_attn(query, key, value, bounds, bounds, longest, longest)
        assert isinstance(packed, Tensor)
        return packed
    proteins = zip(*(x.transpose(0, 1).split(lengths_S, dim=1) for x in (query, key, value)), strict=True)
    attended = [F.scaled_dot_product_attention(q[None], k[None], v[None]).squeeze(0) for q, k, v in proteins]
    return torch.cat(attended, dim=1).transpose(0, 1)
