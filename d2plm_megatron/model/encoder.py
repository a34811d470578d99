"""The encoder: Megatron's GPT model without the causal mask, on packs of proteins."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.config import Model, Parallel
from d2plm_megatron.model import backend
from d2plm_megatron.model.attention import PackedProteins, packed_proteins
from d2plm_megatron.model.time_conditioning import Modulation, modulate, time_features
from d2plm_megatron.parallel.megatron import TransformerConfig, parallel_state
from d2plm_megatron.parallel.megatron.modules import HookedGPTModel, mark_sequence_parallel
from d2plm_megatron.proteins import alphabet

MAX_POSITIONS = 1 << 16
"""Only a bound that Megatron asks for: rotary positions have none."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def transformer_config(model: Model, parallel: Parallel, precision: str, backend_name: str) -> TransformerConfig:
    """What Megatron needs to know of the encoder. Its weights stay unset: `model.weights` fills them."""

    def leave_unset(weight: Tensor) -> Tensor:
        return weight

    fused = backend_name == "te"
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        ffn_hidden_size=model.ffn_hidden_size,
        gated_linear_unit=model.activation == "swiglu",
        activation_func=F.silu if model.activation == "swiglu" else F.gelu,
        normalization="RMSNorm" if model.normalization == "rmsnorm" else "LayerNorm",
        layernorm_epsilon=1e-5,
        add_bias_linear=model.bias,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        params_dtype=DTYPES[precision],
        bf16=precision == "bf16",
        pipeline_dtype=DTYPES[precision],
        batch_p2p_sync=False,  # for a fault of torch before the versions that this package takes
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        sequence_parallel=parallel.sequence,
        calculate_per_token_loss=True,
        init_method=leave_unset,
        output_layer_init_method=leave_unset,
        embedding_init_method=leave_unset,
        apply_rope_fusion=fused,
        # Megatron's fused GELU is the tanh approximation, which is not ESM-2's.
        bias_activation_fusion=fused and model.activation == "swiglu",
        use_te_activation_func=not fused and model.activation == "swiglu",  # the spec's own, whosever it is
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        persist_layer_norm=False,
        gradient_accumulation_fusion=False,
        cuda_graph_scope=[],
    )


class Encoder(HookedGPTModel):
    """Corrupted pack in, logits of every token out; each token sees all of its own protein and nothing else.

    Args:
        model: shape and parts.
        config: from `transformer_config`.
        backend_name: "te" or "torch".
    """

    def __init__(self, model: Model, config: TransformerConfig, backend_name: str) -> None:
        super().__init__(
            config,
            backend.block_spec(model, backend_name, model.num_layers // config.pipeline_model_parallel_size),
            vocab_size=alphabet.PADDED_SIZE,
            max_sequence_length=MAX_POSITIONS,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
            parallel_output=False,
            share_embeddings_and_output_weights=model.head == "esm",
            position_embedding_type="rope",
        )
        self.backend_name = backend_name
        self.conditioned, self.esm_head = model.time_conditioning, model.head == "esm"
        if self.post_process and self.conditioned:
            self.final_modulation = Modulation(config, num_vectors=2)
        if self.post_process and self.esm_head:
            self.head = EsmHead(config)
        if self.post_process:
            # Must stay the last module: Megatron-FSDP takes the last one's output for where the backward pass begins.
            self.output_projection = OutputProjection(config, bias=self.esm_head)

    def forward(self, noisy: NoisyBatch) -> Tensor:  # type: ignore[override]  # Megatron's takes the parts of a pack
        """Logits [1, T, V] in fp32 on the last pipeline stage, hidden states [T, 1, H] on the others."""
        tokens_T, clean = noisy.tokens_T, noisy.clean
        packed = packed_proteins(
            clean, self._own_share(clean.sequence_T), "thd" if self.backend_name == "te" else "sbhd"
        )
        output = super().forward(
            input_ids=tokens_T[None],
            position_ids=clean.positions_T[None],
            attention_mask=None,
            packed_seq_params=packed,
            extra_block_kwargs={"context": time_features(noisy.times_S) if self.conditioned else None},
        )
        return self.output_projection(output) if self.post_process else output

    def _own_share(self, values_T: Tensor) -> Tensor:
        """The part of [T] that belongs to the tokens of this process under sequence parallelism."""
        if not self.config.sequence_parallel:
            return values_T
        return values_T.chunk(self.config.tensor_model_parallel_size)[parallel_state.get_tensor_model_parallel_rank()]

    def angles(self, rotary: Tensor, positions_T: Tensor) -> Tensor:
        """Without Transformer Engine one per token, so that positions start anew in each protein without a loop."""
        return rotary[positions_T] if self.backend_name == "torch" else rotary

    def before_logits(self, hidden: Tensor, context: Tensor | None, packed: PackedProteins) -> Tensor:
        """The last modulation by time, and ESM-2's head."""
        if self.conditioned:
            hidden = modulate(hidden, *self.final_modulation(context, packed.sequence_T))
        return self.head(hidden) if self.esm_head else hidden


class EsmHead(torch.nn.Module):
    """ESM-2's language-model head up to the tied embedding: dense, GELU and LayerNorm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        where: dict[str, Any] = {"dtype": config.params_dtype, "device": torch.cuda.current_device()}
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size, **where)
        self.norm = torch.nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon, **where)
        mark_sequence_parallel(self, config)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[T, 1, H] -> [T, 1, H]."""
        return self.norm(F.gelu(self.dense(hidden_states)))


class OutputProjection(torch.nn.Module):
    """From the padded vocabulary to the alphabet, in fp32, with ESM-2's bias where asked for."""

    def __init__(self, config: TransformerConfig, bias: bool) -> None:
        super().__init__()
        where: dict[str, Any] = {"dtype": config.params_dtype, "device": torch.cuda.current_device()}
        self.bias = torch.nn.Parameter(torch.zeros(alphabet.SIZE, **where)) if bias else None

    def forward(self, logits: Tensor) -> Tensor:
        """[1, T, padded V] -> [1, T, V], fp32."""
        logits = logits[..., : alphabet.SIZE].float()
        return logits if self.bias is None else logits + self.bias
