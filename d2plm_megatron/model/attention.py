"""Attention among the tokens of each protein of a pack, and the description of the pack that layers are handed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.parallel.megatron import PackedSeqParams


@dataclass
class PackedProteins(PackedSeqParams):
    """Where the proteins of a pack begin and end, as Megatron hands it to every layer.

    Attributes:
        lengths_S: tokens of each protein, on the host.
        sequence_T: the protein of each token that this process holds (all of them, or its share under sequence
            parallelism), for values that all tokens of a protein have in common.
    """

    lengths_S: tuple[int, ...] = ()
    sequence_T: Tensor | None = None


def packed_proteins(batch: TokenBatch, sequence_T: Tensor, qkv_format: str) -> PackedProteins:
    """The description of a pack. qkv_format is "thd" for Transformer Engine, "sbhd" for PackedAttention."""
    bounds, longest = batch.bounds_S, max(batch.lengths_S)
    return PackedProteins(
        qkv_format=qkv_format,
        cu_seqlens_q=bounds,
        cu_seqlens_kv=bounds,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
        lengths_S=batch.lengths_S,
        sequence_T=sequence_T,
    )


class PackedAttention(torch.nn.Module):
    """The core_attention of the torch layer spec: softmax(q k / sqrt(d)) v within each protein, without a mask.

    On a GPU in 16 bits one FlashAttention kernel over the whole pack; elsewhere torch's attention, protein by protein.
    Holds no weights, so checkpoints fit Transformer Engine's attention too.
    """

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        attn_mask_type: Any = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedProteins,
    ) -> Tensor:
        """Query, key and value are [T, 1, heads, d]; returns [T, 1, heads * d]."""
        query, key = query.squeeze(1), key.squeeze(1)
        value = value.squeeze(1).contiguous()  # a view would keep the projections of queries and keys alive with it
        if flash_takes(query) and (flash := _flash()) is not None:
            bounds, longest = packed_seq_params.cu_seqlens_q, packed_seq_params.max_seqlen_q
            attended = flash(query, key, value, bounds, bounds, longest, longest)
            assert isinstance(attended, Tensor)  # and not a pair, as without asking for the sums of the softmax
        else:
            attended = _protein_by_protein(query, key, value, packed_seq_params.lengths_S)
        return attended.reshape(attended.shape[0], 1, -1)


def flash_takes(query: Tensor) -> bool:
    """Whether the kernel is made for this device, precision and size of a head."""
    head_size = query.shape[-1]
    return query.is_cuda and query.dtype != torch.float32 and head_size % 8 == 0 and head_size <= 256


@cache
def _flash() -> Callable | None:
    """The kernel, which is imported where it is used, as a compiler comes with it; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _protein_by_protein(query: Tensor, key: Tensor, value: Tensor, lengths_S: tuple[int, ...]) -> Tensor:
    """[T, heads, d] each -> [T, heads, d]."""
    proteins = zip(*(x.transpose(0, 1).split(lengths_S, dim=1) for x in (query, key, value)), strict=True)
    attended = [F.scaled_dot_product_attention(q[None], k[None], v[None]).squeeze(0) for q, k, v in proteins]
    return torch.cat(attended, dim=1).transpose(0, 1)
