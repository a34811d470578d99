"""What a model that did not generate them says about proteins: their perplexity, and how far apart embeddings lie."""

import math

import numpy as np

from d2plm_megatron.data.sequences import TOKENS_PER_PACK
from d2plm_megatron.evaluation.samples.bootstrap import Interval
from d2plm_megatron.evaluation.samples.frechet import FEWEST, distance_of
from d2plm_megatron.evaluation.samples.panel import Panel, sequences
from d2plm_megatron.evaluation.samples.plausibility import perplexity
from d2plm_megatron.evaluation.samples.verdict import Columns
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.spacing import spacing
from d2plm_megatron.runs.checkpoint import Checkpoint

MOST_REFERENCES = 2_000
"""Proteins of the reference whose embeddings those of each column are compared with, at most; evenly spaced."""

_AT_ONCE = 256


def asked(checkpoint: Checkpoint, panel: Panel, num_draws: int) -> Columns:
    """Perplexity of each column and, of 16 proteins or more, the Fréchet distance of mean embeddings to the rest."""
    rest = sequences(panel.rest[:: spacing(len(panel.rest), MOST_REFERENCES)])
    letters = [*panel.matched.values(), rest]
    tokens = max(TOKENS_PER_PACK, 2 + max(len(sequence) for column in letters for sequence in column))
    with TrainedModel.open(checkpoint) as model:
        columns = {
            name: {"model_perplexity": _perplexity(model, column, num_draws, tokens)}
            for name, column in panel.matched.items()
        }
        if len(panel.samples) >= FEWEST:
            embedded = _embedded(model, rest, tokens)
            for name, column in panel.matched.items():
                columns[name]["frechet"] = distance_of(_embedded(model, column, tokens), embedded)
    return columns


def _perplexity(model: TrainedModel, column: list[str], num_draws: int, tokens: int) -> Interval:
    residues = np.array([int((alphabet.encode(sequence) < alphabet.CANONICAL.stop).sum()) for sequence in column])
    found = model.perplexity(column, num_draws=num_draws, tokens_per_pack=tokens)
    return perplexity(np.array([math.log(value) for value in found]) * residues, residues)


def _embedded(model: TrainedModel, column: list[str], tokens: int) -> np.ndarray:
    """The mean embedding of each protein, [n, H]; those of residues are in memory for some proteins at a time."""
    parts = [column[begin : begin + _AT_ONCE] for begin in range(0, len(column), _AT_ONCE)]
    return np.concatenate([model.embed(part, mean=True, tokens_per_pack=tokens) for part in parts])
