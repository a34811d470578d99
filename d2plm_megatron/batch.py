"""The values that travel from the data to the loss: a pack, a corrupted pack, the terms of a loss.

Shape suffixes, here and everywhere:

    T   tokens of a pack            S   proteins in it (the tail that fills it up included)
    V   letters of the alphabet     H   hidden size          C   width of the time features
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """One pack: several proteins end to end, filled up to T tokens by a tail of padding that is never scored.

    Attributes:
        tokens_T: clean ids, int64.
        positions_T: place of the token in its protein, from 0, int64.
        sequence_T: which protein of the pack it belongs to, int64.
        scored_T: bool, true where a canonical residue stands, which may be corrupted and scored.
        sample_ids_S: key of the protein's noise, int64.
        stream_index_S: place of the protein in the stream of the epoch, int64; times are stratified along it.
        lengths_S: tokens of each protein, on the host, so that no kernel waits for the device to tell them.
        epoch: the pass over the data that the pack belongs to.
    """

    tokens_T: Tensor
    positions_T: Tensor
    sequence_T: Tensor
    scored_T: Tensor
    sample_ids_S: Tensor
    stream_index_S: Tensor
    lengths_S: tuple[int, ...]
    epoch: int

    @property
    def bounds_S(self) -> Tensor:
        """Where each protein begins, and where the last one ends, int32, one more than S, on the tokens' device."""
        numbers = torch.arange(len(self.lengths_S) + 1, device=self.sequence_T.device)
        return torch.searchsorted(self.sequence_T, numbers, out_int32=True)

    def to(self, device: torch.device) -> Self:
        """The same pack with its tensors on another device."""
        return self._with_each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Self:
        """The same pack in memory from which a GPU, where there is one, copies it without making the host wait."""
        return self._with_each(Tensor.pin_memory) if torch.cuda.is_available() else self

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(x) for name, x in values.items() if isinstance(x, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class NoisyBatch:
    """A pack after corruption: what the encoder sees and what the loss needs.

    Attributes:
        clean: the pack.
        tokens_T: corrupted ids, int64.
        times_S: t of each protein, float64: 0 is noise, 1 is data.
        predicted_T: bool, the tokens that the loss is taken over.
    """

    clean: TokenBatch
    tokens_T: Tensor
    times_S: Tensor
    predicted_T: Tensor

    @property
    def times_T(self) -> Tensor:
        """t of each token, float64."""
        return self.times_S[self.clean.sequence_T]


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """A loss as sum and count, so that ranks can be added up before the one division.

    Attributes:
        total: scalar, the sum that gradients are taken of.
        count: scalar int64, what the sum is divided by.
        metrics: further numbers as (sum, count), by name; "nll" is among them.
    """

    total: Tensor
    count: Tensor
    metrics: dict[str, tuple[Tensor, Tensor]]

    def __post_init__(self) -> None:
        if "nll" not in self.metrics:
            raise ValueError('LossTerms: metrics must hold "nll", of which exp(sum / count) is a perplexity')
