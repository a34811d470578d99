"""Walking the mixture path from noise to proteins, t = 0 to 1.

Noise turns into data at the rate kappa' / (1 - kappa), so that between times t and s it does with probability
(kappa_s - kappa_t) / (1 - kappa_t): the exact integral, whatever the schedule, and 1 for the step to t = 1. The path's
source says what may jump: masks alone, or any residue. What jumps is drawn from the posterior p(x1 | x_t), which is
held over the step: that is all that is approximate. Where nothing jumps, nothing is computed.

Draws are made in float64: in float32 rounding lowers the entropy of what is generated (arXiv:2407.15595, section 6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream

Denoiser = Callable[[NoisyBatch], Tensor]
"""Corrupted pack in, logits [T, V] out."""


@dataclass(frozen=True)
class Sampler:
    """How to walk.

    Args:
        path: that the encoder was trained along.
        num_steps: of the walk, evenly spaced in t.
        temperature: the logits are divided by it; below 1 likelier residues, above 1 more diverse ones.
        depends_on_time: the encoder sees t, so that its answer ages even when no residue has changed.
    """

    path: Path
    num_steps: int
    temperature: float
    depends_on_time: bool

    def sample(self, pack: TokenBatch, denoiser: Denoiser, rng: KeyedRng) -> tuple[Tensor, int]:
        """Fills the scored tokens of a pack; (ids [T], number of evaluations of the encoder)."""
        keys = pack.sample_ids_S[pack.sequence_T], pack.positions_T
        tokens_T = self.path.sample(pack, torch.zeros_like(pack.stream_index_S, dtype=torch.float64), rng)
        grid = torch.linspace(0, 1, self.num_steps + 1, dtype=torch.float64)
        posterior_TV, num_evaluations = None, 0
        for step, (t, s) in enumerate(pairwise(grid)):
            jumps_T = self.path.candidates(tokens_T, pack) & (
                rng.uniform(Stream.REVEAL, step, *keys) < self._jump_probability(t, s)
            )
            if not jumps_T.any():
                continue
            if posterior_TV is None or self.depends_on_time:
                posterior_TV = self._posterior(pack, tokens_T, t, denoiser)
                num_evaluations += 1
            drawn_T = draw(posterior_TV, rng.uniform(Stream.RESIDUE, step, *keys))
            changed_T = torch.where(jumps_T, drawn_T, tokens_T)
            if not torch.equal(changed_T, tokens_T):
                tokens_T, posterior_TV = changed_T, None
        return tokens_T, num_evaluations

    def _jump_probability(self, t: Tensor, s: Tensor) -> float:
        if s == 1:
            return 1.0  # whatever rounding makes of kappa
        here, there = self.path.schedule.kappa(t), self.path.schedule.kappa(s)
        return float((there - here) / (1 - here))

    def _posterior(self, pack: TokenBatch, tokens_T: Tensor, t: Tensor, denoiser: Denoiser) -> Tensor:
        """p(x1 | x_t), [T, 20], float64."""
        times_S = torch.full_like(pack.stream_index_S, float(t), dtype=torch.float64)
        noisy = NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=pack.scored_T)
        logits_TV = denoiser(noisy)[:, alphabet.CANONICAL].double()
        return (logits_TV / self.temperature).softmax(-1)


def draw(posterior_TV: Tensor, uniform_T: Tensor) -> Tensor:
    """One canonical residue id per token, [T], by inverting the cumulative distribution at the given numbers."""
    cumulative_TV = posterior_TV.cumsum(-1)
    choice_T = torch.searchsorted(cumulative_TV, (uniform_T * cumulative_TV[:, -1])[:, None])[:, 0]
    return alphabet.FIRST_CANONICAL + choice_T.clamp(max=alphabet.NUM_CANONICAL - 1)
