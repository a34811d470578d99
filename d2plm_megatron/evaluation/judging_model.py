"""What a model that did not generate them says about proteins: their perplexity, and how far apart embeddings lie."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import progress
from d2plm_megatron.data.windows import pack_windows, windows
from d2plm_megatron.evaluation.samples.bootstrap import Interval
from d2plm_megatron.evaluation.samples.frechet import FEWEST, distance_of
from d2plm_megatron.evaluation.samples.panel import Panel, sequences
from d2plm_megatron.evaluation.samples.plausibility import perplexity
from d2plm_megatron.evaluation.samples.verdict import Columns
from d2plm_megatron.inference.draws import Measurement, measure
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.spacing import spacing
from d2plm_megatron.runs.checkpoint import Checkpoint

MOST_REFERENCES = 2_000
"""Proteins of the reference whose embeddings those of each column are compared with, at most; evenly spaced."""

_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a model is asked.

    Attributes:
        checkpoint: the model.
        weights: "ema" or "raw".
        precision: "bf16" or "fp32"; None for what suits the machine.
        parallel: how the model is split over processes.
        num_draws: of noise for each protein.
        seed: of the noise.
        window: residues that go through the model as one; None for those that it was trained on.
        tokens_per_pack: that go through it at once, unless a window has more.
    """

    checkpoint: Checkpoint
    weights: str
    precision: str | None
    parallel: Parallel
    num_draws: int
    seed: int
    window: int | None
    tokens_per_pack: int

    @property
    def longest(self) -> int:
        """Residues of a window."""
        return self.window or self.checkpoint.recipe.data.max_length_residues

    def ask(self, panel: Panel) -> tuple[Columns, dict[str, object], bool]:
        """Perplexity and, of 16 proteins or more, the Fréchet distance of mean embeddings to those of the rest.

        Both are of matched proteins, as either depends on their lengths. All processes call it and get the same.
        Returns the measures of each column, how the model was asked as JSON, and whether this is the process that
        tells them.
        """
        with TrainedModel.open(self.checkpoint, self.weights, self.precision, parallel=self.parallel) as model:
            columns: Columns = {
                name: {"model_perplexity": self._perplexity(model, name, column)}
                for name, column in panel.matched.items()
            }
            if len(panel.samples) >= FEWEST:
                reference = sequences(panel.rest[:: spacing(len(panel.rest), MOST_REFERENCES)])
                rest = self._embedded(model, "reference", reference)
                for name, column in panel.matched.items():
                    columns[name]["frechet"] = distance_of(self._embedded(model, name, column), rest)
            return columns, self._numbers(model), model.processes.is_main

    def _numbers(self, model: TrainedModel) -> dict[str, object]:
        """By the names that evaluation.json has."""
        return {
            "checkpoint": str(self.checkpoint.path),
            "step": self.checkpoint.state["progress"]["step"],
            "objective": self.checkpoint.recipe.objective.name,
            "weights": model.weights,
            "precision": model.precision,
            "processes": model.processes.world_size,
            "draws": self.num_draws,
            "seed": self.seed,
            "window": self.longest,
        }

    def _perplexity(self, model: TrainedModel, name: str, column: list[str]) -> Interval:
        residues = [alphabet.encode(letters) for letters in column]
        packs, owners = pack_windows(residues, self.longest, self.tokens_per_pack)
        found = measure(model, Measurement(model.likelihoods["elbo"], packs, owners, self.seed, name), self.num_draws)
        return perplexity(found.nats.sum(1), found.residues.sum(1))

    def _embedded(self, model: TrainedModel, name: str, column: list[str]) -> np.ndarray:
        """The mean embedding of each protein, [n, H]; those of residues are in memory for some proteins at a time."""
        tokens = max(self.tokens_per_pack, self.longest + 2)
        found = []
        with _progress(model, f"embedding {name}", len(column)) as advance:
            for begin in range(0, len(column), _AT_ONCE):
                some = column[begin : begin + _AT_ONCE]
                found.append(_means(model, some, self.longest, tokens))
                advance(len(some))
        return np.concatenate(found)


def _means(model: TrainedModel, proteins: Sequence[str], longest: int, tokens: int) -> np.ndarray:
    """The mean embedding of the residues of each protein, each taken from the window in which it is scored."""
    cut = [(number, window) for number, letters in enumerate(proteins) for window in windows(len(letters), longest)]
    states = model.embed(
        [proteins[number][window.start : window.stop] for number, window in cut], tokens_per_pack=tokens
    )
    sums = np.zeros((len(proteins), states[0].shape[1]))
    for (number, window), of_window in zip(cut, states, strict=True):
        sums[number] += of_window[window.scored_from - window.start :].sum(axis=0, dtype=np.float64)
    means: np.ndarray = sums / np.array([[len(letters)] for letters in proteins])
    return means


@contextmanager
def _progress(model: TrainedModel, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """The main process's bar."""
    with progress(description, total, "proteins") if model.processes.is_main else nullcontext(_unseen) as advance:
        yield advance


def _unseen(amount: int) -> None:
    """Stands for the bar in other processes."""
