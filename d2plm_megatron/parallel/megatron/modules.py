"""Megatron's modules where ours reach into them."""

from typing import Any

import torch
from torch import Tensor

from d2plm_megatron.parallel.megatron import GPTModel, TransformerConfig, TransformerLayer


class HookedGPTModel(GPTModel):
    """Megatron's GPT model with two places for something of one's own, which do nothing here."""

    def angles(self, rotary: Tensor, positions_T: Tensor) -> Tensor:
        """The rotary angles that the layers see, given those of every position [P, 1, 1, d] and that of each token."""
        return rotary

    def before_logits(self, hidden: Tensor, context: Tensor | None, packed: Any) -> Tensor:
        """[T, 1, H] -> [T, 1, H]: between the layers and the output, on the last pipeline stage.

        `context` and `packed` are what the layers were handed under these names.
        """
        return hidden

    def _preprocess(self, *args: Any, **kwargs: Any) -> tuple:
        hidden, rotary, *rest = super()._preprocess(*args, **kwargs)
        return hidden, self.angles(rotary, kwargs["position_ids"][0]), *rest

    def _postprocess(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.post_process:
            context, packed = kwargs["extra_block_kwargs"]["context"], kwargs["packed_seq_params"]
            hidden_states = self.before_logits(hidden_states, context, packed)
        return super()._postprocess(hidden_states, *args, **kwargs)


def module_of(encoder: GPTModel, layer: int) -> torch.nn.Module:
    """What gives the hidden states after a layer, on the pipeline stage that has it.

    0 is the embedding, and the last layer is followed by the norm that ends the stack.
    """
    if layer == 0:
        return encoder.embedding
    if layer == encoder.config.num_layers:
        return encoder.decoder.final_layernorm
    [own] = [own for own in encoder.decoder.layers if own.layer_number == layer]
    return own


def hidden_of(module: torch.nn.Module, output: Any) -> Tensor:
    """The hidden states, [T, 1, H], in what such a module gives: a layer gives its context, too."""
    hidden = output[0] if isinstance(module, TransformerLayer) else output
    assert isinstance(hidden, Tensor), f"{type(module).__name__} gives {type(output).__name__}"
    return hidden


def mark_sequence_parallel(module: torch.nn.Module, config: TransformerConfig) -> None:
    """Tells Megatron whether a process computes this module, not of its own, on its share of the tokens only.

    Then its gradients are parts, which Megatron adds up over the tensor-parallel processes.
    """
    for parameter in module.parameters():
        setattr(parameter, "sequence_parallel", config.sequence_parallel)  # noqa: B010  (Megatron's name, not torch's)
