"""Weights that a run begins with and that are not drawn: of its own checkpoint, or of the run that it begins from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.model import backend, time_conditioning, weights


class Weights(Protocol):
    """Weights that an encoder begins with."""

    def fill(self, sliced: tensors.Sliced) -> None:
        """Sets the given slices in place."""


@dataclass(frozen=True)
class StoredWeights:
    """A group of tensors in a checkpoint that is an encoder.

    Attributes:
        folder: of the checkpoint, which was saved in any layout.
        group: EMA or RAW.
        adds_time: the encoder to fill has time conditioning, that of the checkpoint has none.
    """

    folder: Path
    group: str
    adds_time: bool = False

    def fill(self, sliced: tensors.Sliced) -> None:
        """Sets the given slices in place.

        Added time conditioning is set so that every layer computes what it did without, to the bit.

        Raises ValueError when the checkpoint lacks one of them, and Damaged when its files are not as its index says.
        """
        stored = []
        for slice_, values in sliced:
            if self.adds_time and time_conditioning.NAME in slice_.name:
                values.copy_(weights.open_gates(slice_).to(values.device).view(values.shape))
            elif self.adds_time:
                stored.append((replace(slice_, name=backend.name_without_time(slice_.name)), values))
            else:
                stored.append((slice_, values))
        tensors.load(self.folder, {self.group: stored})
