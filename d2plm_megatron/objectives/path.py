"""The mixture path from noise to data, which corruption, loss and sampler share (arXiv:2407.15595)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.schedules import Schedule
from d2plm_megatron.objectives.source import Source
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream

LIKELIHOOD_EPSILON = 1e-6
"""Share of kappa next to 1 that a reported likelihood does not ask the encoder about: see `last_nll`."""


@dataclass(frozen=True)
class MixturePath:
    """x_t = x1 with probability kappa(t), else x0, which the source draws.

    Args:
        schedule: kappa.
        source: of x0.
        time_epsilon: what is drawn evenly, is drawn from (0, 1 - time_epsilon).
        even_in_kappa: kappa is drawn evenly instead of t. An integral over t then is one over kappa, and a bound on the
            likelihood has the spread that it has with the linear schedule, the least of those here.
    """

    schedule: Schedule
    source: Source
    time_epsilon: float
    even_in_kappa: bool = False

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws a time for each protein, and x_t; every residue that may be noise is predicted."""
        times_S = self.times(batch, rng)
        tokens_T = self.sample(batch, times_S, rng)
        predicted_T = batch.scored_T & self.source.candidates(tokens_T, batch)
        return NoisyBatch(clean=batch, tokens_T=tokens_T, times_S=times_S, predicted_T=predicted_T)

    def times(self, batch: TokenBatch, rng: KeyedRng) -> Tensor:
        """One t per protein, [S], float64, stratified over the global batch."""
        even_S = rng.stratified(Stream.TIME, batch.stream_index_S) * (1 - self.time_epsilon)
        return self.schedule.inverse(even_S) if self.even_in_kappa else even_S

    def sample(self, batch: TokenBatch, times_S: Tensor, rng: KeyedRng) -> Tensor:
        """x_t, [T], int64: each scored token on its own keeps its residue with probability kappa(t)."""
        keys = batch.sample_ids_S[batch.sequence_T], batch.positions_T
        kappa_T = self.schedule.kappa(times_S)[batch.sequence_T]
        noised_T = batch.scored_T & (rng.uniform(Stream.CORRUPT, *keys) >= kappa_T)
        return torch.where(noised_T, self.source.draw(rng, *keys), batch.tokens_T)

    def importance(self, times: Tensor) -> Tensor:
        """The importance weight of drawn times: kappa' over their density.

        The mean over them of this factor times a function is the integral of kappa' times it over t, up to the last
        time that is drawn.
        """
        slope = torch.ones_like(times) if self.even_in_kappa else self.schedule.derivative(times)
        return slope * (1 - self.time_epsilon)

    def rate(self, times: Tensor) -> Tensor:
        """kappa' / (1 - kappa) over the density of the drawn times; see `importance`."""
        return self.importance(times) / (1 - self.schedule.kappa(times))

    def nll(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
        """(negative ELBO of the pack's proteins to its end, in nats, float64; their residues). Without gradients."""
        num_residues = noisy.clean.scored_T.sum()
        elbo = self.elbo(log_posterior_TV.detach(), noisy).sum()
        return elbo + num_residues.double() * self.last_nll(), num_residues

    def elbo(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> Tensor:
        """The negative ELBO up to the last time that may be drawn, [T], float64; 0 at what is not predicted."""
        x1_T, xt_T = at_predicted(noisy)
        kappa_T, importance_T = self.schedule.kappa(noisy.times_T), self.importance(noisy.times_T)
        elbo_T = self.source.bound(log_posterior_TV, x1_T, xt_T, kappa_T, importance_T)
        return torch.where(noisy.predicted_T, elbo_T, 0.0)

    def last_nll(self) -> float:
        """What the stretch between the last time that may be drawn and t = 1 adds to a bound on the likelihood.

        There the encoder is not asked. So the sum is the bound of a whole process. Nats per residue; with
        LIKELIHOOD_EPSILON 3.0e-6 for masks and 1.7e-5 for the uniform source.
        """
        last = torch.tensor(1 - self.time_epsilon, dtype=torch.float64)
        return self.source.last_nll(float(1 - (last if self.even_in_kappa else self.schedule.kappa(last))))

    def for_likelihood(self) -> "MixturePath":
        """The same path, with times drawn so that bounds on the likelihood spread little, and up to nearly 1."""
        return replace(self, time_epsilon=LIKELIHOOD_EPSILON, even_in_kappa=True)


def at_predicted(noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
    """Clean and noisy ids, [T], with some canonical residue where nothing is predicted."""
    clean_T = torch.where(noisy.predicted_T, noisy.clean.tokens_T, alphabet.FIRST_CANONICAL)
    return clean_T, torch.where(noisy.predicted_T, noisy.tokens_T, alphabet.FIRST_CANONICAL)
