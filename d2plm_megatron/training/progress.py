"""Where a run stands: what a checkpoint needs beside tensors, and when to stop."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from d2plm_megatron.config import Validation
from d2plm_megatron.data.stream import Position


@dataclass
class Progress:
    """What is counted along a run.

    Attributes:
        step: optimizer steps attempted.
        position: of the next pack in the data.
        num_updates: steps that changed the weights; the others met a loss or gradient that was not finite.
        skipped_in_a_row: of those others, since the last update.
        num_proteins: seen, with repetition.
        num_tokens: likewise, without padding.
        best_loss: lowest validation loss, nats.
        validations_since_best: in a row without improvement.
    """

    step: int = 0
    position: Position = field(default_factory=Position)
    num_updates: int = 0
    skipped_in_a_row: int = 0
    num_proteins: int = 0
    num_tokens: int = 0
    best_loss: float = math.inf
    validations_since_best: int = 0

    def is_better(self, loss: float, options: Validation) -> bool:
        """Takes note of a validation loss; true if it is the best by more than min_delta."""
        if loss < self.best_loss - options.min_delta:
            self.best_loss, self.validations_since_best = loss, 0
            return True
        self.validations_since_best += 1
        return False

    def forget_best(self) -> None:
        """To be called when losses to come cannot be compared with those before."""
        self.best_loss, self.validations_since_best = math.inf, 0

    def should_stop(self, options: Validation) -> bool:
        """True once `patience` validations in a row brought no improvement."""
        return options.patience is not None and self.validations_since_best >= options.patience

    def to_json(self) -> dict[str, Any]:
        """For state.json."""
        values = asdict(self)
        return {**values, "best_loss": self.best_loss if math.isfinite(self.best_loss) else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From state.json."""
        best = values["best_loss"]
        return cls(
            **{**values, "position": Position(**values["position"]), "best_loss": math.inf if best is None else best}
        )
