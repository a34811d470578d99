"""The mixture path from noise to data, which corruption, loss and sampler share (arXiv:2407.15595)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from d2plm_megatron import alphabet
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.noise import Noise, Stream
from d2plm_megatron.objectives.schedules import Schedule, rate


@dataclass(frozen=True)
class MixturePath:
    """x_t = x1 with probability kappa(t), else x0: a mask, or a residue drawn uniformly from the canonical 20.

    Args:
        schedule: kappa.
        uniform_source: x0 is a random residue instead of a mask.
        time_epsilon: t is drawn from (0, 1 - time_epsilon).
    """

    schedule: Schedule
    uniform_source: bool
    time_epsilon: float

    def times(self, batch: TokenBatch, noise: Noise) -> Tensor:
        """One t per protein, [S], float64, stratified over the global batch."""
        return noise.stratified(Stream.TIME, batch.ordinals_S) * (1 - self.time_epsilon)

    def sample(self, batch: TokenBatch, times_S: Tensor, noise: Noise) -> Tensor:
        """x_t, [T], int64: each scored token on its own keeps its residue with probability kappa(t)."""
        keys = batch.sample_ids_S[batch.sequence_T], batch.positions_T
        kappa_T = self.schedule.kappa(times_S)[batch.sequence_T]
        noised_T = batch.scored_T & (noise.uniform(Stream.CORRUPT, *keys) >= kappa_T)
        return torch.where(noised_T, self.source(noise, *keys), batch.tokens_T)

    def source(self, noise: Noise, *keys: Tensor) -> Tensor:
        """x0, int64, of the shape of the keys."""
        if not self.uniform_source:
            return torch.tensor(alphabet.MASK, device=keys[0].device)
        return alphabet.FIRST_CANONICAL + noise.integers(Stream.REPLACE, alphabet.NUM_CANONICAL, *keys)

    def rate(self, times: Tensor) -> Tensor:
        """kappa' / (1 - kappa) times the width of the interval that t is drawn from.

        With this factor the mean over drawn times is the integral over t, up to the interval that is left out.
        """
        return rate(self.schedule, times) * (1 - self.time_epsilon)
