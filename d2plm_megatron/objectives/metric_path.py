"""Metric-induced paths (arXiv:2412.03487): noise passes through similar residues."""

import math
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.special import entr

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives import metric_velocity
from d2plm_megatron.objectives.metric_noising import FIRST_BETA, Noising, apart, arrays
from d2plm_megatron.objectives.path import at_predicted, finite
from d2plm_megatron.objectives.schedules import Schedule
from d2plm_megatron.objectives.source import is_residue
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.distances import Distance
from d2plm_megatron.rng import KeyedRng, Stream

HIGHEST_BETA = 1e5
"""Of which the chances are those of t = 1, without the infinity."""


@dataclass(frozen=True)
class MetricPath:
    """p_t(x | x1) ~ exp(-beta_t d(x, x1)) over the canonical residues, from beta = 0, random ones, towards infinity.

    A likelihood is asked of the encoder between two betas, a first at which x_t knows next to nothing and a last at
    which it knows next to all; what lies outside is paid without it (`ends_nll`), so that the sum bounds the whole.

    Args:
        schedule: kappa, of which beta is the odds, kappa / (1 - kappa).
        distance: d, with the mean 1.
        time_epsilon: t is drawn from (0, 1 - time_epsilon).
        even_in_information: drawn evenly instead is how much x_t knows of x1, between the two betas. A bound on the
            likelihood then has a small spread.
        by_bayes: the path's own evidence is added to the encoder's logits; see evidence.py.
    """

    schedule: Schedule
    distance: Distance
    time_epsilon: float
    even_in_information: bool = False
    by_bayes: bool = False
    _made: dict[torch.device, Noising] = field(default_factory=dict, init=False, repr=False, compare=False)
    _made_ends: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def has_masks(self) -> bool:
        """There are none."""
        return False

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """Draws a time for each protein, and x_t; every residue is predicted."""
        times_S = self.times(batch, rng)
        tokens_T = self.sample(batch, times_S, rng)
        return NoisyBatch(clean=batch, tokens_T=tokens_T, times_S=times_S, predicted_T=batch.scored_T)

    def times(self, batch: TokenBatch, rng: KeyedRng) -> Tensor:
        """One t per protein, [S], float64, stratified over the global batch."""
        even_S = rng.stratified(Stream.TIME, batch.stream_index_S)
        if not self.even_in_information:
            return even_S * (1 - self.time_epsilon)
        beta_S = self._noising(even_S.device).beta_at(even_S * most_known(self))
        return self.schedule.inverse(beta_S / (1 + beta_S))

    def sample(self, batch: TokenBatch, times_S: Tensor, rng: KeyedRng) -> Tensor:
        """x_t, [T], int64: each scored token on its own, at random by p_t; of a blank it is noise."""
        keys = batch.sample_ids_S[batch.sequence_T], batch.positions_T
        log_p_SVV = self._log_chances(self.beta(times_S))
        known_T = is_residue(batch.tokens_T)
        x1_T = torch.where(known_T, batch.tokens_T - alphabet.FIRST_CANONICAL, 0)
        chances_TV = log_p_SVV[batch.sequence_T, x1_T].exp()
        reached_TV = torch.where(known_T[:, None], chances_TV, 1 / alphabet.NUM_CANONICAL).cumsum(-1)
        place_T = (reached_TV <= rng.uniform(Stream.CORRUPT, *keys)[:, None] * reached_TV[:, -1:]).sum(-1)
        return torch.where(batch.scored_T, alphabet.FIRST_CANONICAL + place_T, batch.tokens_T)

    def candidates(self, tokens_T: Tensor, pack: TokenBatch) -> Tensor:
        """All tokens that are scored."""
        return pack.scored_T

    def log_evidence(self, noisy: NoisyBatch) -> Tensor:
        """log p_t(x_t | x1): - beta d(x_t, x1), less the logarithm of what normalises it, which x1 enters, too."""
        known_T = is_residue(noisy.tokens_T)
        xt_T = torch.where(known_T, noisy.tokens_T - alphabet.FIRST_CANONICAL, 0)
        log_p_SVV = self._log_chances(self.beta(noisy.times_S))
        return torch.where(known_T[:, None], log_p_SVV[noisy.clean.sequence_T, :, xt_T], 0.0)

    def share_of_noise(self, times: Tensor) -> Tensor:
        """20/19 of the mean chance that a residue becomes another, residues being alike in number."""
        kept = self._log_chances(self.beta(times)).exp().diagonal(dim1=-2, dim2=-1).mean(-1)
        return (1 - kept) * alphabet.NUM_CANONICAL / (alphabet.NUM_CANONICAL - 1)

    def time_of_share(self, share: float) -> float:
        """By bisection, to the last bit of float64: the share falls everywhere."""
        early, late = torch.tensor([0.0, 1.0], dtype=torch.float64)
        for _ in range(54):
            middle = (early + late) / 2
            early, late = (middle, late) if self.share_of_noise(middle) > share else (early, middle)
        return float(early)

    def beta(self, times: Tensor) -> Tensor:
        """beta at each time."""
        kappa = self.schedule.kappa(times)
        return (kappa / (1 - kappa)).clamp(max=HIGHEST_BETA)

    def rates(self, log_posterior_TV: Tensor, tokens_T: Tensor, t: Tensor, until: Tensor | None = None) -> Tensor:
        """The kinetic-optimal rates of a mean over x1, [T, 20]; over a step the mean of beta' takes its place."""
        beta = self.beta(t)
        slope = self._slope(t) if until is None else (self.beta(until) - beta) / (until - t)
        moves_T = is_residue(tokens_T)
        xt_T = torch.where(moves_T, tokens_T - alphabet.FIRST_CANONICAL, 0)
        log_p = self._log_chances(beta.expand(tokens_T.shape))
        rates_TVV = metric_velocity.towards(log_p, -self._noising(t.device).distance_VV, xt_T)
        posterior_TV = log_posterior_TV[:, alphabet.CANONICAL].double().exp()
        rates_TV = finite(slope, t).expand(tokens_T.shape)[:, None] * (posterior_TV[:, None] @ rates_TVV)[:, 0]
        return torch.where(moves_T[:, None], rates_TV, 0.0)

    def nll(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
        """(negative ELBO of the pack's proteins to its end, in nats, float64; their residues). Without gradients."""
        x1_T, _ = at_predicted(noisy)
        ends_T = self._ends_nll(x1_T.device)[x1_T - alphabet.FIRST_CANONICAL]
        elbo_T = self.elbo(log_posterior_TV.detach(), noisy) + torch.where(noisy.predicted_T, ends_T, 0.0)
        return elbo_T.sum(), noisy.clean.scored_T.sum()

    def elbo(self, log_posterior_TV: Tensor, noisy: NoisyBatch) -> Tensor:
        """The negative ELBO between the first and the last beta, [T], float64; 0 at what is not predicted."""
        known, sequence_T = self._noising(noisy.times_S.device), noisy.clean.sequence_T
        x1_T, xt_T = (ids_T - alphabet.FIRST_CANONICAL for ids_T in at_predicted(noisy))
        beta_S = self.beta(noisy.times_S)
        first, last = asked_betas(self)
        asked_S, inside_S = (beta_S >= first) & (beta_S <= last), beta_S.clamp(first, last)
        log_p_SVV, noising_SVV = self._log_chances(inside_S), known.rates(inside_S)
        drift_SVV = metric_velocity.drift(log_p_SVV, known.distance_VV, noising_SVV)

        def lost(some: Tensor, log_posterior_TV: Tensor, x1_T: Tensor, xt_T: Tensor) -> Tensor:
            rates_TVV = metric_velocity.rates_of_bound(log_p_SVV[some], drift_SVV[some], noising_SVV[some], xt_T)
            return metric_velocity.bound(log_posterior_TV, rates_TVV, x1_T)

        of_tokens = sequence_T, log_posterior_TV[:, alphabet.CANONICAL], x1_T, xt_T
        parts = zip(*(values.split(_part(len(x1_T))) for values in of_tokens), strict=True)
        weight_S = torch.where(asked_S, self.importance(noisy.times_S), 0.0)
        elbo_T = weight_S[sequence_T] * torch.cat([lost(*part) for part in parts])
        return torch.where(noisy.predicted_T, elbo_T, 0.0)

    def importance(self, times: Tensor) -> Tensor:
        """beta' over the density of the drawn times: the mean of it times a function is the function's integral."""
        if self.even_in_information:
            return most_known(self) / self._noising(times.device).density(self.beta(times))
        return self._slope(times) * (1 - self.time_epsilon)

    def for_likelihood(self) -> "MetricPath":
        """The same path, with times drawn so that bounds on the likelihood spread little, and up to nearly 1."""
        return replace(self, time_epsilon=0.0, even_in_information=True)

    def _slope(self, times: Tensor) -> Tensor:
        """beta'."""
        return self.schedule.derivative(times) / (1 - self.schedule.kappa(times)) ** 2

    def _log_chances(self, beta: Tensor) -> Tensor:
        return metric_velocity.log_chances(beta, self._noising(beta.device).distance_VV)

    def _noising(self, device: torch.device) -> Noising:
        if device not in self._made:
            self._made[device] = Noising.of(self.distance, device)
        return self._made[device]

    def _ends_nll(self, device: torch.device) -> Tensor:
        if device not in self._made_ends:
            self._made_ends[device] = torch.tensor(ends_nll(self), dtype=torch.float64).to(device, non_blocking=True)
        return self._made_ends[device]


def _part(num_tokens: int) -> int:
    """Tokens that are looked at together. Each takes 20 x 20 rates, and that many times all would be felt as memory."""
    return max(64, -(-num_tokens // 16))


@cache
def asked_betas(path: MetricPath) -> tuple[float, float]:
    """Between which the encoder is asked for a likelihood."""
    reached = apart(lambda: float(path.beta(torch.tensor(1 - path.time_epsilon, dtype=torch.float64))))
    last = min(reached, math.exp(arrays(path.distance)[1][-1]))
    return min(FIRST_BETA, last), last


@cache
def most_known(path: MetricPath) -> float:
    """How much is known at the last beta; see Noising."""
    _, log_beta_G, known_G, _ = arrays(path.distance)
    return float(np.interp(math.log(asked_betas(path)[1]), log_beta_G, known_G))


@cache
def ends_nll(path: MetricPath) -> tuple[float, ...]:
    """What a likelihood costs for each x1 where the encoder is not asked, nats.

    It begins with random residues instead of those of the first beta, and from those of the last beta it guesses x1 as
    if all residues were equally many.
    """
    betas = asked_betas(path)

    def computed() -> tuple[float, ...]:
        distance_VV = torch.tensor(path.distance, dtype=torch.float64)
        begin, end = metric_velocity.log_chances(torch.tensor(betas, dtype=torch.float64), distance_VV)
        begin_V = math.log(len(distance_VV)) - entr(begin.exp()).sum(-1)
        return tuple((begin_V - (end.exp() * end.log_softmax(0)).sum(-1)).tolist())

    return apart(computed)
