"""Paths from noise to data, which corruption, loss and samplers share; and the mixture path (arXiv:2407.15595)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import hits, log_probability
from d2plm_megatron.objectives.schedules import Schedule
from d2plm_megatron.objectives.source import Source, stands_at
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream

LIKELIHOOD_EPSILON = 1e-6
"""Share of kappa next to 1 that a reported likelihood does not ask the encoder about: see `last_nll`."""

Bound = Callable[[Tensor, NoisyBatch], Tensor]
"""What bounds the negative log-likelihood, of each token, [T], by log p(x1 | x_t), [T, V], and what was shown."""


class Path(Protocol):
    """How proteins become noise, residue by residue, and what a posterior says about the way back."""

    @property
    def schedule(self) -> Schedule:
        """How the share of data grows in time."""
        ...

    @property
    def has_masks(self) -> bool:
        """Masks are noise, so that a trained model can read them."""
        ...

    @property
    def by_bayes(self) -> bool:
        """The encoder's logits are of p(x1 | x_t without the residue), and `log_evidence` is added: see evidence.py."""
        ...

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws a time for each protein, and x_t; every residue that may be noise is predicted."""
        ...

    def sample(self, batch: TokenBatch, times_S: Tensor, rng: KeyedRng) -> Tensor:
        """x_t, [T], int64, of each protein at its own time; tokens that are not scored stay. At t = 0 it is noise."""
        ...

    def candidates(self, tokens_T: Tensor, pack: TokenBatch) -> Tensor:
        """The tokens of x_t that may be noise, bool [T]: what they were is asked of the encoder, and they may jump."""
        ...

    def log_evidence(self, noisy: NoisyBatch) -> Tensor:
        """log q(x_t | x1) of each token for each canonical x1, float64 [T, 20].

        0 where x_t is no residue: what stands there says nothing, or the same of all.
        """
        ...

    def share_of_noise(self, times: Tensor) -> Tensor:
        """The share of residues that is noise at each time: 20/19 of those that are expected to differ, without masks.

        1 at t = 0, and 0 at t = 1.
        """
        ...

    def time_of_share(self, share: float) -> float:
        """The time at which that share of residues is noise."""
        ...

    def rates(self, log_posterior_TV: Tensor, tokens_T: Tensor, t: Tensor, until: Tensor | None = None) -> Tensor:
        """The rates at which tokens jump to each canonical residue, float64 [T, 20]; 0 to what already stands there.

        Args:
            log_posterior_TV: log p(x1 | x_t), over the whole alphabet.
            tokens_T: x_t. Of what is neither a residue nor a mask the rates are 0.
            t: the time, float64, of all tokens or of each.
            until: the end of a step, below 1, over which the mean of the rates is wanted, with x_t and posterior held.

        Raises ValueError where a rate is infinite: at t = 1, and for some schedules at t = 0, where no mean is.
        """
        ...

    def nll(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
        """(negative ELBO of the pack's proteins to its end, in nats, float64; their residues). Without gradients."""
        ...

    def for_likelihood(self) -> "Path":
        """The same path, with times drawn so that bounds on the likelihood spread little, and up to nearly 1."""
        ...


@dataclass(frozen=True)
class MixturePath:
    """x_t = x1 with probability kappa(t), else x0, which the source draws.

    Args:
        schedule: kappa.
        source: of x0.
        time_epsilon: what is drawn evenly, is drawn from (0, 1 - time_epsilon).
        even_in_kappa: kappa is drawn evenly instead of t. An integral over t then is one over kappa, and a bound on the
            likelihood has the spread that it has with the linear schedule, the least of those here.
        by_bayes: the path's own evidence is added to the encoder's logits; see evidence.py.
    """

    schedule: Schedule
    source: Source
    time_epsilon: float
    even_in_kappa: bool = False
    by_bayes: bool = False

    @property
    def has_masks(self) -> bool:
        """As the source has."""
        return self.source.has_masks

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws a time for each protein, and x_t; every residue that may be noise is predicted."""
        times_S = self.times(batch, rng)
        tokens_T = self.sample(batch, times_S, rng)
        predicted_T = self.candidates(tokens_T, batch)
        return NoisyBatch(clean=batch, tokens_T=tokens_T, times_S=times_S, predicted_T=predicted_T)

    def candidates(self, tokens_T: Tensor, pack: TokenBatch) -> Tensor:
        """The scored tokens that may be noise, bool [T]: masks, or with the uniform source all."""
        return pack.scored_T & self.source.may_be_noise(tokens_T)

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

    def log_evidence(self, noisy: NoisyBatch) -> Tensor:
        """log q(x_t | x1), as the source has it."""
        return self.source.log_evidence(noisy.tokens_T, self.schedule.kappa(noisy.times_T))

    def share_of_noise(self, times: Tensor) -> Tensor:
        """1 - kappa."""
        return 1 - self.schedule.kappa(times)

    def time_of_share(self, share: float) -> float:
        """Where kappa is 1 - share."""
        return float(self.schedule.inverse(torch.tensor(1 - share, dtype=torch.float64)))

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

    def rates(self, log_posterior_TV: Tensor, tokens_T: Tensor, t: Tensor, until: Tensor | None = None) -> Tensor:
        """kappa' / (1 - kappa) p(y | x_t), float64 [T, 20], and over a step the mean of kappa' in place of kappa'."""
        kappa = self.schedule.kappa(t)
        slope = self.schedule.derivative(t) if until is None else (self.schedule.kappa(until) - kappa) / (until - t)
        factor = finite(slope / (1 - kappa), t).expand(tokens_T.shape)
        posterior_TV = log_posterior_TV[:, alphabet.CANONICAL].double().exp()
        rates_TV = torch.where(self.source.may_be_noise(tokens_T), factor, 0.0)[:, None] * posterior_TV
        return rates_TV.masked_fill(stands_at(tokens_T), 0.0)

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


def finite(rate: Tensor, t: Tensor) -> Tensor:
    """A rate of the path at t. Raises ValueError where it is not finite."""
    if not rate.isfinite().all():
        raise ValueError(
            f"the path's rate is infinite at t={float(t.max()):g}: take a sampler that knows the chance of a whole "
            "step, or ask for the mean over the step"
        )
    return rate


def at_predicted(noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
    """Clean and noisy ids, [T], with some canonical residue where nothing is predicted."""
    clean_T = torch.where(noisy.predicted_T, noisy.clean.tokens_T, alphabet.FIRST_CANONICAL)
    return clean_T, torch.where(noisy.predicted_T, noisy.tokens_T, alphabet.FIRST_CANONICAL)


def loss_along(path: Path, log_posterior_TV: Tensor, noisy: NoisyBatch, bound: Bound | None) -> LossTerms:
    """The loss of a posterior along a path, per residue: a bound on the likelihood, or without one the cross-entropy.

    "nll" is the negative ELBO of the path, to its ends, whatever the loss.
    """
    nll_T = -log_probability(log_posterior_TV, noisy.clean.tokens_T, noisy.predicted_T).double()
    num_residues = noisy.clean.scored_T.sum()
    return LossTerms(
        total=bound(log_posterior_TV, noisy).sum() if bound else nll_T.sum(),
        count=num_residues,
        metrics={
            "nll": path.nll(log_posterior_TV, noisy),
            "cross_entropy": (nll_T.detach().sum(), num_residues),
            "accuracy": hits(log_posterior_TV, noisy),
        },
    )
