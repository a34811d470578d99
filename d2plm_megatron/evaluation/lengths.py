"""How a likelihood depends on the length of a protein."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.runs.metrics import perplexity

NUM_BINS = 5


def by_length(draws: Draws, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """The nats per residue of proteins of neighbouring lengths: fifths of them, fewer where many are of one length.

    Args:
        draws: of P proteins.
        lengths: residues of each, P of them.
    """
    lengths_P = np.asarray(lengths)
    edges = np.unique(np.quantile(lengths_P, np.arange(1, NUM_BINS) / NUM_BINS, method="inverted_cdf"))
    bins = np.searchsorted(edges, lengths_P)
    chosen = (np.flatnonzero(bins == number) for number in range(len(edges) + 1))
    return [_row(draws, lengths_P, proteins) for proteins in chosen if draws.residues[proteins].any()]


def _row(draws: Draws, lengths_P: np.ndarray, proteins: np.ndarray) -> dict[str, Any]:
    nats, residues = draws.nats[proteins].mean(1), draws.residues[proteins].mean(1)
    mean = nats.sum() / residues.sum()
    number = len(proteins)
    squares = ((nats - mean * residues) ** 2).sum() * number / max(1, number - 1)  # of a ratio, to first order
    return {
        "from": int(lengths_P[proteins].min()),
        "to": int(lengths_P[proteins].max()),
        "proteins": number,
        "residues": round(residues.sum()),
        "nats_per_residue": float(mean),
        "standard_error": math.sqrt(squares) / residues.sum() if number > 1 else None,
        "perplexity": perplexity(mean),
    }
