"""The posterior p(x1 | x_t) that residues are drawn from: asked for only where it may have changed, and shaped.

What is asked about is single proteins of a pack: those of which the sampler is about to use the posterior of any token,
and of which a token has changed since the last answer, or the time, where the encoder sees it. So proteins that are
finished, and those in which nothing happens in a step, cost nothing.

Masks show how far a protein is, so that the time an encoder is told of them is that at which there are as many on the
average: the one it is told in evaluation. It is not that of the walk where a template gives residues at t = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.any_order import time_of_masks
from d2plm_megatron.objectives.evidence import apart
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.per_protein import any_of, take
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.sampling.options import SamplerOptions

Denoiser = Callable[[NoisyBatch], Tensor]
"""Corrupted pack in, logits [T, V] out."""


@dataclass(frozen=True)
class Shape:
    """What is made of p(x1 | x_t without the residue) before residues are drawn.

    At a mask that is the posterior. Where noise is residues, the posterior also holds what x_t itself says of x1, which
    no temperature changes: sharpened, it would freeze residues where they are, however unlikely.

    Args:
        options: with top_p, top_k and the schedule of the temperature.
        temperature: that log p of a residue is divided by; below 1 likelier residues, above 1 more diverse ones.
        allowed_TV: bool [T, 20], the residues that a token may become; None for all.
    """

    options: SamplerOptions
    temperature: float
    allowed_TV: Tensor | None

    def shaped(self, logits_TV: Tensor, times_T: Tensor) -> Tensor:
        """Probabilities of the canonical residues, [T, 20], float64."""
        if self.allowed_TV is not None:
            logits_TV = logits_TV.masked_fill(~self.allowed_TV, -torch.inf)
        quadratic = self.options.temperature_schedule == "quadratic"
        temperature_T = self.temperature * ((1 - times_T) ** 2 if quadratic else torch.ones_like(times_T))
        found_TV = (logits_TV / temperature_T[:, None]).softmax(-1)
        if self.options.top_k < alphabet.NUM_CANONICAL or self.options.top_p < 1:
            found_TV = truncated(found_TV, self.options.top_p, self.options.top_k)
        return found_TV


def truncated(posterior_TV: Tensor, top_p: float, top_k: int) -> Tensor:
    """The same with the likeliest residues alone, [T, 20]: at most top_k, and the fewest that hold top_p together."""
    sorted_TV, order_TV = posterior_TV.sort(dim=-1, descending=True, stable=True)
    kept_TV = torch.arange(posterior_TV.shape[-1], device=order_TV.device) < top_k
    sorted_TV = sorted_TV * kept_TV
    before_TV = sorted_TV.cumsum(-1) - sorted_TV
    sorted_TV = sorted_TV * (before_TV < top_p * sorted_TV.sum(-1, keepdim=True))
    kept = torch.zeros_like(posterior_TV).scatter(-1, order_TV, sorted_TV)
    return kept / kept.sum(-1, keepdim=True)


class Posterior:
    """The posterior of a pack's proteins during a walk, and how often the encoder was asked for it."""

    def __init__(self, pack: TokenBatch, denoiser: Denoiser, path: Path, shape: Shape, conditioned: bool) -> None:
        self._pack, self._denoiser, self._path, self._shape = pack, denoiser, path, shape
        self._conditioned = conditioned
        self._seen_T = torch.full_like(pack.tokens_T, -1)
        self._times_S = torch.full_like(pack.stream_index_S, -1, dtype=torch.float64)
        self._logits_TV = torch.zeros(
            (len(pack.tokens_T), alphabet.NUM_CANONICAL), dtype=torch.float64, device=pack.tokens_T.device
        )
        self._evaluations_S = torch.zeros_like(pack.stream_index_S)

    def __call__(self, tokens_T: Tensor, where_T: Tensor, times_S: Tensor) -> Tensor:
        """p(x1 | x_t), [T, 20], float64, of the tokens that are asked about; of others it may be old.

        Args:
            tokens_T: x_t.
            where_T: the tokens of which it will be used, bool.
            times_S: t of each protein in the walk, float64.
        """
        has_masks, pack = self._path.has_masks, self._pack
        told_S = time_of_masks(self._path.schedule, tokens_T, pack) if has_masks else times_S
        stale_S = any_of(pack, where_T) & (
            any_of(pack, tokens_T != self._seen_T) | (self._conditioned & (told_S != self._times_S))
        )
        if stale_S.any():
            self._ask(tokens_T, stale_S, told_S)
        if has_masks:
            return self._shape.shaped(self._logits_TV, times_S[pack.sequence_T])
        noisy = NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=where_T)
        logits_TV, evidence_TV = apart(self._path, self._logits_TV, noisy)
        return (self._shape.shaped(logits_TV, noisy.times_T).log() + evidence_TV).softmax(-1)

    @property
    def evaluations(self) -> float:
        """How often the encoder was asked about a protein, on the average over those with anything to fill."""
        filled_S = any_of(self._pack, self._pack.scored_T)
        return float(self._evaluations_S.sum()) / max(1, int(filled_S.sum()))

    def _ask(self, tokens_T: Tensor, proteins_S: Tensor, times_S: Tensor) -> None:
        stale_T, part = proteins_S[self._pack.sequence_T], take(self._pack, proteins_S)
        noisy = NoisyBatch(
            clean=part, tokens_T=tokens_T[stale_T], times_S=times_S[proteins_S], predicted_T=part.scored_T
        )
        self._logits_TV[stale_T] = self._denoiser(noisy)[:, alphabet.CANONICAL].double()
        self._seen_T = torch.where(stale_T, tokens_T, self._seen_T)
        self._times_S = torch.where(proteins_S, times_S, self._times_S)
        self._evaluations_S += proteins_S


def draw(posterior_TV: Tensor, uniform_T: Tensor) -> Tensor:
    """One canonical residue id per token, [T], by inverting the cumulative distribution at the given numbers.

    Raises ValueError where a probability is no number, as of an encoder whose weights or activations are not finite.
    """
    cumulative_TV = posterior_TV.cumsum(-1)
    if not (known_T := cumulative_TV[:, -1].isfinite()).all():
        raise ValueError(
            f"the model's probabilities at {int((~known_T).sum())} of {len(known_T)} tokens are no numbers: "
            "look at its weights (d2plm checkpoint verify), or take fp32"
        )
    choice_T = torch.searchsorted(cumulative_TV, (uniform_T * cumulative_TV[:, -1])[:, None])[:, 0]
    return alphabet.FIRST_CANONICAL + choice_T.clamp(max=alphabet.NUM_CANONICAL - 1)
