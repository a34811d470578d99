from typing import Any, Literal

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.transformer_block import TransformerBlock, TransformerBlockSubmodules
from torch import Tensor

class GPTModel(torch.nn.Module):
    config: TransformerConfig
    embedding: torch.nn.Module
    decoder: TransformerBlock
    pre_process: bool
    post_process: bool
    def __init__(
        self,
        config: TransformerConfig,
        transformer_layer_spec: ModuleSpec | TransformerBlockSubmodules,
        vocab_size: int,
        max_sequence_length: int,
        pre_process: bool = ...,
        post_process: bool = ...,
        *,
        parallel_output: bool = ...,
        share_embeddings_and_output_weights: bool = ...,
        position_embedding_type: Literal["learned_absolute", "rope", "mrope", "yarn", "none"] = ...,
    ) -> None: ...
    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor | None,
        *,
        packed_seq_params: PackedSeqParams | None = ...,
        extra_block_kwargs: dict[str, Any] | None = ...,
    ) -> Tensor: ...
    def sharded_state_dict(self, prefix: str = ...) -> dict[str, ShardedTensor | ShardedTensorFactory]: ...
    def _preprocess(
        self, input_ids: Tensor, position_ids: Tensor, *, packed_seq_params: PackedSeqParams = ...
    ) -> tuple: ...
    def _postprocess(
        self,
        hidden_states: Tensor,
        input_ids: Tensor,
        position_ids: Tensor,
        labels: Tensor | None,
        rotary_pos_emb: Tensor,
        rotary_pos_cos: Tensor | None,
        rotary_pos_sin: Tensor | None,
        *,
        packed_seq_params: PackedSeqParams | None = ...,
        extra_block_kwargs: dict[str, Any] | None = ...,
    ) -> Tensor: ...
