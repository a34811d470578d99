"""How a model's guesses turn out: by how much of a protein is noise, by how sure the model is, and by residue.

All is counted while the likelihood is measured. A guess weighs as in the likelihood: those of a protein of L residues,
n of which are predicted, by L / n. For masks the nats of all bins together are therefore the negative ELBO. The share
of noise is n / L for masks, and where noise does not show what the path has at the time of the protein, on average.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.inference.spread import summed
from d2plm_megatron.objectives.evidence import log_posterior
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.per_protein import counts_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.runs.metrics import perplexity

NOISE_BINS = CONFIDENCE_BINS = 10
WEIGHT, CONFIDENCE, RIGHT, NATS = range(4)
"""What is summed over guesses: their weights, and times these the probability of the likeliest residue, whether it is
the right one, and the cross-entropy."""


class Counting:
    """An objective, and what it counts while it measures.

    Args:
        objective: what is measured, which does not change by it.
        path: that says what noise is.
    """

    def __init__(self, objective: Objective, path: Path) -> None:
        self._objective, self._path = objective, path
        self._cells = torch.zeros(NOISE_BINS * CONFIDENCE_BINS, 4, dtype=torch.float64)
        self._residues = torch.zeros(alphabet.NUM_CANONICAL, 4, dtype=torch.float64)

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """As the objective does."""
        return self._objective.corrupt(batch, rng)

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """The objective's, once the guesses are counted."""
        where_T, sequence_T = noisy.predicted_T, noisy.clean.sequence_T
        log_p = log_posterior(self._path, logits_TV, noisy)[where_T][:, alphabet.CANONICAL]
        truth = noisy.clean.tokens_T[where_T] - alphabet.FIRST_CANONICAL
        highest, guess = log_p.max(-1)
        nats = -log_p.gather(-1, truth[:, None])[:, 0]
        scored_S, noise_S = (counts_of(noisy.clean, counted_T) for counted_T in (noisy.clean.scored_T, where_T))
        weight = (scored_S / noise_S)[sequence_T[where_T]]
        share_S = noise_S / scored_S if self._path.has_masks else self._path.share_of_noise(noisy.times_S)
        values = weight[:, None] * torch.stack([torch.ones_like(nats), highest.exp(), guess == truth, nats], -1)
        cells = _bins(share_S, NOISE_BINS)[sequence_T[where_T]] * CONFIDENCE_BINS
        self._cells.index_add_(0, (cells + _bins(highest.exp(), CONFIDENCE_BINS)).cpu(), values.cpu())
        self._residues.index_add_(0, truth.cpu(), values.cpu())
        return self._objective.loss(logits_TV, noisy)

    def counted(self, processes: Processes) -> "Curves":
        """What all processes have counted. They all take part."""
        cells = self._cells.view(NOISE_BINS, CONFIDENCE_BINS, 4)
        return Curves(summed(cells, processes).numpy(), summed(self._residues, processes).numpy())


@dataclass(frozen=True)
class Curves:
    """What was counted.

    Attributes:
        cells: float64 [noise, confidence, 4], sums of WEIGHT, CONFIDENCE, RIGHT and NATS over guesses.
        residues: float64 [20, 4], the same by what the residue is.
    """

    cells: np.ndarray
    residues: np.ndarray

    def by_noise(self) -> list[dict[str, float]]:
        """Of each tenth of the share of noise that there was: how often and how surely guesses were right."""
        rows = zip(_edges(NOISE_BINS), self.cells.sum(1), self.cells, strict=True)
        return [
            {"from": begin, "to": end, **_means(sums), "calibration_error": _calibration_error(cells)}
            for (begin, end), sums, cells in rows
            if sums[WEIGHT]
        ]

    def calibration(self) -> dict[str, float | list[dict[str, float]]]:
        """The expected calibration error (arXiv:1706.04599), and of what is behind it each tenth of confidence."""
        sums = self.cells.sum(0)
        shares = sums[:, WEIGHT] / sums[:, WEIGHT].sum()
        bins = [
            {"from": begin, "to": end, "share": float(share), **_means(row)}
            for (begin, end), share, row in zip(_edges(CONFIDENCE_BINS), shares, sums, strict=True)
            if row[WEIGHT]
        ]
        return {"error": _calibration_error(sums), "bins": bins}

    def by_residue(self) -> dict[str, dict[str, float]]:
        """Of each residue that occurs its share, and how it is guessed."""
        total = self.residues[:, WEIGHT].sum()
        return {
            letter: {"share": float(sums[WEIGHT] / total), **_means(sums)}
            for letter, sums in zip(alphabet.CANONICAL_LETTERS, self.residues, strict=True)
            if sums[WEIGHT]
        }


def _means(sums: np.ndarray) -> dict[str, float]:
    confidence, accuracy, nats = (sums[1:] / sums[WEIGHT]).tolist()
    return {"accuracy": accuracy, "confidence": confidence, "nats_per_residue": nats, "perplexity": perplexity(nats)}


def _calibration_error(sums: np.ndarray) -> float:
    """Of bins of confidence: the mean distance between how sure guesses are and how often they are right."""
    return float(np.abs(sums[:, CONFIDENCE] - sums[:, RIGHT]).sum() / sums[:, WEIGHT].sum())


def _edges(number: int) -> list[tuple[float, float]]:
    return [(bin_ / number, (bin_ + 1) / number) for bin_ in range(number)]


def _bins(shares: Tensor, number: int) -> Tensor:
    """The bin of each share, int64; an edge belongs to the bin below it."""
    return ((shares.double() * number - 1e-9).ceil().long() - 1).clamp(0, number - 1)
