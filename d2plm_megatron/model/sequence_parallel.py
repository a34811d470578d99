"""Sequence parallelism, for modules that are not Megatron's own."""

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


def mark(module: torch.nn.Module, config: TransformerConfig) -> None:
    """Tells Megatron whether a process computes this module on its share of the tokens only.

    Then its gradients are parts, which Megatron adds up over the tensor-parallel processes.
    """
    for parameter in module.parameters():
        setattr(parameter, "sequence_parallel", config.sequence_parallel)  # noqa: B010  (Megatron's name, not torch's)
