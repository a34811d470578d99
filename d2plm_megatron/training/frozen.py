"""Parameters that stay as they are: without gradients, moments and average, and in checkpoints all the same."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.model.sharding import TensorSlice
from d2plm_megatron.training.stored_weights import Weights


@dataclass(frozen=True)
class FrozenWeights:
    """What does not train, in fp32 in the memory of the CPU, however the encoder rounds it and Megatron shares it out.

    Attributes:
        kept: the slices that this process writes into checkpoints, with their values.
    """

    kept: list[tuple[TensorSlice, Tensor]]

    def copies(self) -> Iterator[tuple[TensorSlice, Tensor]]:
        """The same once more, in memory of its own."""
        for slice_, values in self.kept:
            yield slice_, values.clone()


@torch.no_grad()
def freeze(
    encoder: Encoder,
    slices_by_name: dict[str, list[TensorSlice]],
    trained: Collection[str],
    stored: Weights | None,
) -> FrozenWeights:
    """Sets what does not train, and lets Megatron know by `requires_grad`: to be called before it wraps the encoder.

    Args:
        encoder: with its initial weights.
        slices_by_name: from `slices_by_parameter`.
        trained: names as in config/parameters.py.
        stored: weights to begin with; None leaves the initial ones.
    """
    frozen = {}
    for name, parameter in encoder.named_parameters():
        if slices_by_name[name][0].parameter not in trained:
            parameter.requires_grad_(False)
            frozen[name] = parameter.to("cpu", torch.float32, copy=True).flatten()
    sliced = [
        (slice_, frozen[name][slice_.start : slice_.stop].view(slice_.shape))
        for name in frozen
        for slice_ in slices_by_name[name]
    ]
    if stored is not None and sliced:
        stored.fill(sliced)
        for name, parameter in encoder.named_parameters():
            if name in frozen:
                parameter.copy_(frozen[name].view(parameter.shape))
    return FrozenWeights([(slice_, values) for slice_, values in sliced if not any(slice_.replica)])
