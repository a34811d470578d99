"""How likely proteins are under a judge that did not make them: its perplexity, which belongs beside their entropy."""

import math
from collections.abc import Iterable

import numpy as np

from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.ngrams import NGrams

ORDER = 3


def perplexity(nats: np.ndarray, residues: np.ndarray) -> Interval:
    """exp of the nats per residue of proteins, of each of which these are sums."""
    found = of_ratio(nats, residues)
    value = math.exp(found.value)
    if found.low is None or found.high is None or found.error is None:
        return Interval(value)
    return Interval(value, math.exp(found.low), math.exp(found.high), value * found.error)


def under_ngrams(columns: dict[str, list[str]], known: Iterable[str]) -> dict[str, dict[str, Interval]]:
    """By column and key, what a 3-gram of the known proteins says of its proteins.

    That is their perplexity, and how many nats of a residue the two before it tell: 0 where order means nothing.
    """
    judge = NGrams.fit(map(alphabet.encode, known), ORDER)
    return {name: _of_column(judge, letters) for name, letters in columns.items()}


def _of_column(judge: NGrams, letters: list[str]) -> dict[str, Interval]:
    ids = [alphabet.encode(sequence) for sequence in letters]
    residues = np.array([int((found < alphabet.CANONICAL.stop).sum()) for found in ids])
    nats = np.array([judge.nats_of_orders(found).sum(axis=1) for found in ids])
    return {
        "ngram_perplexity": perplexity(nats[:, -1], residues),
        "order_information": of_ratio(nats[:, 0] - nats[:, -1], residues),
    }
