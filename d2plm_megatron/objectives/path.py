"""The mixture path from noise to data, which corruption, loss and sampler share (arXiv:2407.15595)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.special import entr

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.objectives.schedules import Schedule
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream

LIKELIHOOD_EPSILON = 1e-6
"""Share of kappa next to 1 that a reported likelihood does not ask the encoder about: see `last_nll`."""


@dataclass(frozen=True)
class MixturePath:
    """x_t = x1 with probability kappa(t), else x0: a mask, or a residue drawn uniformly from the canonical 20.

    Args:
        schedule: kappa.
        uniform_source: x0 is a random residue instead of a mask.
        time_epsilon: what is drawn evenly, is drawn from (0, 1 - time_epsilon).
        even_in_kappa: kappa is drawn evenly instead of t. An integral over t then is one over kappa, and a bound on the
            likelihood has the spread that it has with the linear schedule, the least of those here.
    """

    schedule: Schedule
    uniform_source: bool
    time_epsilon: float
    even_in_kappa: bool = False

    def times(self, batch: TokenBatch, rng: KeyedRng) -> Tensor:
        """One t per protein, [S], float64, stratified over the global batch."""
        even_S = rng.stratified(Stream.TIME, batch.stream_index_S) * (1 - self.time_epsilon)
        return self.schedule.inverse(even_S) if self.even_in_kappa else even_S

    def sample(self, batch: TokenBatch, times_S: Tensor, rng: KeyedRng) -> Tensor:
        """x_t, [T], int64: each scored token on its own keeps its residue with probability kappa(t)."""
        keys = batch.sample_ids_S[batch.sequence_T], batch.positions_T
        kappa_T = self.schedule.kappa(times_S)[batch.sequence_T]
        noised_T = batch.scored_T & (rng.uniform(Stream.CORRUPT, *keys) >= kappa_T)
        return torch.where(noised_T, self.source(rng, *keys), batch.tokens_T)

    def source(self, rng: KeyedRng, *keys: Tensor) -> Tensor:
        """x0, int64, of the shape of the keys."""
        if not self.uniform_source:
            return torch.full_like(keys[0], alphabet.MASK)
        return alphabet.FIRST_CANONICAL + rng.integers(Stream.REPLACE, alphabet.NUM_CANONICAL, *keys)

    def speed(self, times: Tensor) -> Tensor:
        """kappa' over the density of the drawn times.

        The mean over them of this factor times a function is the integral of kappa' times it over t, up to the last
        time that is drawn.
        """
        slope = torch.ones_like(times) if self.even_in_kappa else self.schedule.derivative(times)
        return slope * (1 - self.time_epsilon)

    def rate(self, times: Tensor) -> Tensor:
        """kappa' / (1 - kappa) over the density of the drawn times; see `speed`."""
        return self.speed(times) / (1 - self.schedule.kappa(times))

    def last_nll(self) -> float:
        """What the stretch between the last time that may be drawn and t = 1 adds to a bound on the likelihood.

        There the encoder is not asked: a mask becomes any residue, and a residue of the uniform source stays, but for
        the chance that it is noise, with which it becomes any other. So the sum is the bound of a whole process. Nats
        per residue; with LIKELIHOOD_EPSILON 3.0e-6 for masks and 1.7e-5 for the uniform source.
        """
        last = torch.tensor(1 - self.time_epsilon, dtype=torch.float64)
        left = 1 - (last if self.even_in_kappa else self.schedule.kappa(last))
        if not self.uniform_source:
            return float(left * math.log(alphabet.NUM_CANONICAL))
        others = alphabet.NUM_CANONICAL - 1
        wrong = left * others / alphabet.NUM_CANONICAL
        return float(entr(wrong) + entr(1 - wrong) + wrong * math.log(others))

    def for_likelihood(self) -> "MixturePath":
        """The same path, with times drawn so that bounds on the likelihood spread little, and up to nearly 1."""
        return replace(self, time_epsilon=LIKELIHOOD_EPSILON, even_in_kappa=True)
