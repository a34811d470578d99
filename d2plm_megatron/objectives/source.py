"""What t = 0 is made of: x0, and with it which tokens may still change and what a model's likelihood is."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.special import entr

from d2plm_megatron.objectives.uniform_bound import markov_bound
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream

LEAST_NOISE = 1e-12
"""The least 1 - kappa that evidence is taken from: of what it weighs, 25 nats, rounding leaves the rest."""


class Source(Protocol):
    """The distribution of x0. Corruption, likelihood and sampler ask it all that depends on what noise looks like.

    Attributes:
        has_masks: masks are noise, so that a trained model can read them.
    """

    has_masks: ClassVar[bool]

    def draw(self, rng: KeyedRng, *keys: Tensor) -> Tensor:
        """x0, int64, of the shape of the keys."""
        ...

    def may_be_noise(self, tokens_T: Tensor) -> Tensor:
        """Which tokens of x_t may be noise, bool [T], by what they are."""
        ...

    def log_evidence(self, tokens_T: Tensor, kappa_T: Tensor) -> Tensor:
        """log q(x_t | x1) of each token for each canonical x1, float64 [T, 20]; see Path.log_evidence."""
        ...

    def bound(
        self, log_posterior_TV: Tensor, x1_T: Tensor, xt_T: Tensor, kappa_T: Tensor, importance_T: Tensor
    ) -> Tensor:
        """The negative ELBO at tokens that may be noise, nats per drawn time, [T], float64.

        Args:
            log_posterior_TV: log p(x1 | x_t).
            x1_T: clean ids, canonical.
            xt_T: noisy ids.
            kappa_T: share of data at the time of each token, float64.
            importance_T: kappa' over the density of that time; see MixturePath.importance.
        """
        ...

    def last_nll(self, left: float) -> float:
        """What it costs, in nats per residue, to finish without the encoder when the share `left` may be noise."""
        ...


@dataclass(frozen=True)
class Mask:
    """x0 is a mask. A visible residue is known, so that masks alone may change (SUBS, arXiv:2406.07524)."""

    has_masks: ClassVar[bool] = True

    def draw(self, rng: KeyedRng, *keys: Tensor) -> Tensor:
        """Masks."""
        return torch.full_like(keys[0], alphabet.MASK)

    def may_be_noise(self, tokens_T: Tensor) -> Tensor:
        """The masks."""
        return tokens_T == alphabet.MASK

    def log_evidence(self, tokens_T: Tensor, kappa_T: Tensor) -> Tensor:
        """0: any residue may be behind a mask, and where there is none nothing is asked."""
        return torch.zeros((len(tokens_T), alphabet.NUM_CANONICAL), dtype=torch.float64, device=tokens_T.device)

    def bound(
        self, log_posterior_TV: Tensor, x1_T: Tensor, xt_T: Tensor, kappa_T: Tensor, importance_T: Tensor
    ) -> Tensor:
        """kappa' / (1 - kappa) times the cross-entropy."""
        log_p_of_x1_T = log_posterior_TV.gather(-1, x1_T[:, None])[:, 0].double()
        return -(importance_T / (1 - kappa_T)) * log_p_of_x1_T

    def last_nll(self, left: float) -> float:
        """A mask becomes any residue."""
        return left * math.log(alphabet.NUM_CANONICAL)


@dataclass(frozen=True)
class Uniform:
    """x0 is one of the 20 canonical residues, all alike. Any residue may be noise."""

    has_masks: ClassVar[bool] = False

    def draw(self, rng: KeyedRng, *keys: Tensor) -> Tensor:
        """Random residues."""
        return alphabet.FIRST_CANONICAL + rng.integers(Stream.REPLACE, alphabet.NUM_CANONICAL, *keys)

    def may_be_noise(self, tokens_T: Tensor) -> Tensor:
        """All canonical residues."""
        return is_residue(tokens_T)

    def log_evidence(self, tokens_T: Tensor, kappa_T: Tensor) -> Tensor:
        """log(kappa + (1 - kappa) / 20) for the residue that stands there, log((1 - kappa) / 20) for all others."""
        others_T = (1 - kappa_T).clamp(min=LEAST_NOISE) / alphabet.NUM_CANONICAL
        log_q_TV = torch.where(stands_at(tokens_T), (kappa_T + others_T)[:, None], others_T[:, None]).log()
        return torch.where(is_residue(tokens_T)[:, None], log_q_TV, 0.0)

    def bound(
        self, log_posterior_TV: Tensor, x1_T: Tensor, xt_T: Tensor, kappa_T: Tensor, importance_T: Tensor
    ) -> Tensor:
        """See uniform_bound.py."""
        x1_T, xt_T = (ids_T - alphabet.FIRST_CANONICAL for ids_T in (x1_T, xt_T))
        return markov_bound(log_posterior_TV[:, alphabet.CANONICAL], x1_T, xt_T, kappa_T, importance_T)

    def last_nll(self, left: float) -> float:
        """A residue stays, but for the chance that it is noise, with which it becomes any other."""
        others = alphabet.NUM_CANONICAL - 1
        wrong = torch.tensor(left * others / alphabet.NUM_CANONICAL, dtype=torch.float64)
        return float(entr(wrong) + entr(1 - wrong) + wrong * math.log(others))


def is_residue(tokens_T: Tensor) -> Tensor:
    """Where canonical residues stand, bool [T]."""
    return (tokens_T >= alphabet.CANONICAL.start) & (tokens_T < alphabet.CANONICAL.stop)


def stands_at(tokens_T: Tensor) -> Tensor:
    """Which canonical residue each token is, bool [T, 20]; none for a mask and for special tokens."""
    return tokens_T[:, None] == torch.arange(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, device=tokens_T.device)


SOURCES: dict[str, Source] = {"mask": Mask(), "uniform": Uniform()}
"""By the word of objective.source."""
