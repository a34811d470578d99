"""One step of a walk, as a sampler sees it, and the protocol of samplers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.per_protein import sums_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream
from d2plm_megatron.sampling.grid import kappa_at
from d2plm_megatron.sampling.posterior import draw


@dataclass(frozen=True)
class Step:
    """From time t to time s > t.

    Attributes:
        number: of the step, from 0.
        num_steps: of the walk.
        t: where it begins.
        s: where it ends; 1 in the last step.
        tokens_T: x_t.
        pack: of which scored tokens may change.
        path: from noise to data.
        rng: of all that is drawn.
        ask: (x_t, tokens of which the posterior is used, times of the proteins in the walk) -> p(x1 | x_t), [T, 20],
            float64.
    """

    number: int
    num_steps: int
    t: float
    s: float
    tokens_T: Tensor
    pack: TokenBatch
    path: Path
    rng: KeyedRng
    ask: Callable[[Tensor, Tensor, Tensor], Tensor]

    @property
    def is_last(self) -> bool:
        """All that is noise becomes data in it."""
        return self.s == 1

    @property
    def candidates_T(self) -> Tensor:
        """The scored tokens that may be noise, bool."""
        return self.path.candidates(self.tokens_T, self.pack)

    def posterior(self, where_T: Tensor, times_S: Tensor | None = None) -> Tensor:
        """p(x1 | x_t), [T, 20], float64, right where it is asked for; of each protein at its time, or at t."""
        if times_S is None:
            times_S = torch.full_like(self.pack.stream_index_S, self.t, dtype=torch.float64)
        return self.ask(self.tokens_T, where_T, times_S)

    def uniform(self, stream: Stream) -> Tensor:
        """A number in (0, 1) for each token, [T], float64, of its protein, its place and the step alone."""
        return self.rng.uniform(stream, self.number, *self.keys)

    @property
    def keys(self) -> tuple[Tensor, Tensor]:
        """(sample id, position) of each token."""
        return self.pack.sample_ids_S[self.pack.sequence_T], self.pack.positions_T

    def draw(self, posterior_TV: Tensor) -> Tensor:
        """A residue for each token, [T]."""
        return draw(posterior_TV, self.uniform(Stream.RESIDUE))

    def redrawn(self, where_T: Tensor) -> Tensor:
        """x_t with draws from the posterior at some tokens, bool [T]. Where there is none, nothing is computed."""
        if not where_T.any():
            return self.tokens_T
        return torch.where(where_T, self.draw(self.posterior(where_T)), self.tokens_T)

    def masks_left(self) -> Tensor:
        """How many masks the path expects at s in each protein, [S], int64: its scored tokens times 1 - kappa_s."""
        left_S = sums_of(self.pack, self.pack.scored_T).double() * (1 - kappa_at(self.path, self.s))
        return left_S.round().long()


class Sampler(Protocol):
    """How a step is made. One is built for each walk, and may remember what it has done in it."""

    def step(self, here: Step) -> Tensor:
        """x_s, [T], of x_t. Only scored tokens may change, and after the last step none of them is noise."""
        ...


def log_of(probability: Tensor) -> Tensor:
    """The natural logarithm, of 0 a number that is finite."""
    return probability.clamp(min=torch.finfo(torch.float64).tiny).log()


def at_ids(posterior_TV: Tensor, ids_T: Tensor) -> Tensor:
    """The probability of each id, [T]; 0 where it is no canonical residue."""
    index_T = ids_T - alphabet.FIRST_CANONICAL
    inside_T = (index_T >= 0) & (index_T < alphabet.NUM_CANONICAL)
    found_T = posterior_TV.gather(-1, torch.where(inside_T, index_T, 0)[:, None])[:, 0]
    return torch.where(inside_T, found_T, 0.0)
