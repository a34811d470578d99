"""The exponential moving average of the weights: fp32, sharded as they are, one update per successful step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from d2plm_megatron.config import EMA
from d2plm_megatron.parallel.megatron.torch_internals import lerp
from d2plm_megatron.training.master_weights import MasterWeights


class ExponentialMovingAverage:
    """ema <- decay ema + (1 - decay) weights.

    Each rank averages the shards that it steps: 4 bytes per parameter in all, divided by the data-parallel ranks when
    the optimizer is sharded.

    Args:
        masters: the weights; the EMA starts as a copy of them.
        options: decay, and whether it ramps up.
    """

    def __init__(self, masters: MasterWeights, options: EMA) -> None:
        self.masters = masters
        self.options = options
        self.values: list[Tensor] = [weight.clone() for weight in masters.weights]
        self.num_updates = 0

    def decay(self) -> float:
        """Of the next update: with the ramp (1 + n) / (10 + n) after n updates, until options.decay is reached."""
        ramp = (1 + self.num_updates) / (10 + self.num_updates) if self.options.ramp else 1.0
        return min(self.options.decay, ramp)

    @torch.no_grad()
    def update(self) -> None:
        """To be called once after each successful optimizer step, and not after a skipped one."""
        lerp(self.values, self.masters.weights, 1 - self.decay())
        self.num_updates += 1

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The encoder computes with the EMA inside the block; afterwards with its weights, the same to the bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        """Swaps EMA and weights in place, so that nothing more is held than one shard."""
        self.masters.wait_for_gather()
        for value, weight in zip(self.values, self.masters.weights, strict=True):
            kept = weight.clone()
            weight.copy_(value)
            value.copy_(kept)
        self.masters.copy_to_model()
