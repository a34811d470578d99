"""What draws of noise have found of a likelihood, protein by protein, and how far it may be off.

The number of a set of proteins is the sum of their nats over the sum of their residues. Its error has two parts: of the
draws, which more draws make smaller, and of the proteins, as others would have given another number.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.inference.nll import nll_by_protein, noise_of
from d2plm_megatron.inference.spread import answers, shared_progress
from d2plm_megatron.objectives import Objective
from d2plm_megatron.resampling import resamples
from d2plm_megatron.rng import KeyedRng, Stream
from d2plm_megatron.runs.metrics import perplexity
from d2plm_megatron.runs.options import MOST_DRAWS

if TYPE_CHECKING:
    from d2plm_megatron.inference.model import TrainedModel

REPLICATES = 1000
"""Of the bootstrap: its error is within 2.2% of that of infinitely many."""

FEWEST_NUMBERS = 8
"""Beside two draws of each protein, that an error of draws is told by before it is believed."""

MOST_AT_ONCE = 4
"""Times as many draws as there are, that a step towards a given error may bring: its guess of how many it takes is one
from few."""


@dataclass(frozen=True)
class Draws:
    """What one measure found of P proteins in D draws.

    Attributes:
        nats: sums over each protein, float64 [P, D].
        residues: what the sums are of, int64 [P, D].
    """

    nats: np.ndarray
    residues: np.ndarray

    @property
    def num_draws(self) -> int:
        """D."""
        return self.nats.shape[1]

    @property
    def nats_per_residue(self) -> float:
        """Over all proteins and draws."""
        return float(self.nats.sum() / self.residues.sum())

    @property
    def error_of_draws(self) -> float | None:
        """Standard error that is left by the noise, in nats per residue; None for one draw.

        Draws are stratified within each protein, so that neighbours on the circle of times tell the spread: half of the
        mean square of their differences (the estimator of successive differences, Wolter 2007, section 8.2).
        """
        if self.num_draws == 1:
            return None
        around = _order_of_times(self.num_draws)
        rest = (self.nats - self.nats_per_residue * self.residues)[:, around]
        squares = (rest - np.roll(rest, 1, axis=1)) ** 2
        return math.sqrt(squares.sum() / 2) / self.num_draws / self._residues_per_draw

    @cached_property
    def error_of_proteins(self) -> float | None:
        """Standard error that is left by which proteins were drawn, in nats per residue; None for one protein.

        Of one draw it holds that of the draw, too, from which it cannot be told.
        """
        if len(self.nats) == 1:
            return None
        return math.sqrt(max(0.0, self._bootstrap**2 - (self.error_of_draws or 0.0) ** 2))

    @property
    def standard_error(self) -> float | None:
        """Of both together, in nats per residue; None for one draw of one protein."""
        parts = [part for part in (self.error_of_draws, self.error_of_proteins) if part is not None]
        return math.hypot(*parts) if parts else None

    @property
    def perplexity(self) -> float:
        """exp(nats per residue)."""
        return perplexity(self.nats_per_residue)

    @property
    def perplexity_error(self) -> float | None:
        """Standard error of the perplexity, to first order."""
        return None if self.standard_error is None else self.perplexity * self.standard_error

    def of(self, protein: int) -> "Draws":
        """What was found of one protein, by its number."""
        return Draws(self.nats[protein : protein + 1], self.residues[protein : protein + 1])

    def first(self, number: int) -> "Draws":
        """So many of the draws, from the first on."""
        return Draws(self.nats[:, :number], self.residues[:, :number])

    def and_then(self, more: "Draws") -> "Draws":
        """With further draws of the same proteins."""
        return Draws(np.hstack([self.nats, more.nats]), np.hstack([self.residues, more.residues]))

    @property
    def _residues_per_draw(self) -> float:
        return float(self.residues.sum()) / self.num_draws

    @cached_property
    def _bootstrap(self) -> float:
        """Standard deviation over sets of as many proteins, drawn from these. It holds the error of the draws, too."""
        number = len(self.nats)
        sums = np.stack([self.nats.mean(1), self.residues.mean(1)])
        nats, residues = np.hstack([sums[:, drawn].sum(-1) for drawn in resamples(number, REPLICATES)])
        found = nats[residues > 0] / residues[residues > 0]
        return float(found.std() * math.sqrt(number / (number - 1)))


def _order_of_times(num_draws: int) -> np.ndarray:
    """The draws in the order of their times on a circle, which is the same for every protein, but for where it begins.

    The distance around it from a draw to the next is that which KeyedRng.stratified puts between two numbers.
    """
    return KeyedRng(0, 0).stratified(Stream.TIME, torch.arange(num_draws)).argsort().numpy()


@dataclass(frozen=True)
class Measurement:
    """What is to be measured.

    Attributes:
        objective: one of a model's likelihoods.
        packs: windows of the proteins; see data/windows.py.
        protein_of_part: for each window, in the order of the packs, which of the proteins it is from, int64, rising.
        seed: of the noise.
        name: what a bar calls it; None for no bar.
    """

    objective: Objective
    packs: Sequence[TokenBatch]
    protein_of_part: np.ndarray
    seed: int
    name: str | None = None


def measure(model: "TrainedModel", asked: Measurement, num_draws: int, until: float | None = None) -> Draws:
    """Draws noise for every protein, and asks the model. All processes call it and get the same.

    Args:
        model: to measure.
        asked: of what, and by which measure.
        num_draws: at least.
        until: goes on, up to MOST_DRAWS, until the error of draws of the perplexity is not above this; an error that is
            told by few numbers may be far too small, so that at least 2 + 8 / P draws are taken of P proteins.

    Raises ValueError when no residue is scored in any draw.
    """
    least = 1 if until is None else 2 + math.ceil(FEWEST_NUMBERS / (1 + int(asked.protein_of_part[-1])))
    found = _drawn(model, asked, range(max(least, num_draws)))
    if not found.residues.any():
        raise ValueError(f"{asked.name}: none of the residues was chosen: evaluate more proteins, or with more draws")
    while until is not None and (enough := draws_for(found, until)) > found.num_draws:
        more = range(found.num_draws, min(enough, MOST_AT_ONCE * found.num_draws, MOST_DRAWS))
        if not more:
            break
        found = found.and_then(_drawn(model, asked, more))
    return found


def draws_for(found: Draws, until: float) -> int:
    """How many draws it takes for the error of draws of the perplexity to be at most `until`, by those there are."""
    error = found.perplexity * (found.error_of_draws or 0.0)
    return math.ceil(found.num_draws * (error / until) ** 2) if error > until else found.num_draws


def _drawn(model: "TrainedModel", asked: Measurement, numbers: range) -> Draws:
    """The draws of these numbers."""
    total, noise = len(asked.packs) * len(numbers), noise_of(asked.seed)
    bar = shared_progress(f"evaluating {asked.name}", total, "packs", model.processes) if asked.name else nullcontext()
    with bar as advance:

        def ask(pack: TokenBatch) -> np.ndarray:
            return nll_by_protein(model.logits, asked.objective, pack, noise, numbers, advance=advance)

        parts = np.concatenate(answers(asked.packs, ask, model.processes))
    nats, residues = np.zeros((2, 1 + int(asked.protein_of_part[-1]), len(numbers)))
    np.add.at(nats, asked.protein_of_part, parts[..., 0])
    np.add.at(residues, asked.protein_of_part, parts[..., 1])
    return Draws(nats, residues.astype(np.int64))
