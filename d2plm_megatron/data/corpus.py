"""A corpus and the order of its proteins in each pass, and the order in which several corpora take turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from d2plm_megatron.config import Data
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.indexed import IndexedProteins


@dataclass(frozen=True)
class Corpus:
    """Proteins that are drawn in passes.

    A pass draws every protein once or, by cluster, one member of every cluster. `len(corpus)` is how many it draws.

    Attributes:
        proteins: the proteins of the corpus.
        share: the fraction of all draws of the run that are from this corpus.
        clusters: the clusters of the proteins, if it is drawn by cluster; else None.
    """

    proteins: IndexedProteins
    share: Fraction = Fraction(1)
    clusters: Clusters | None = None

    def __len__(self) -> int:
        return len(self.proteins) if self.clusters is None else len(self.clusters)

    def num_tokens(self, max_length: int) -> float:
        """How many residues and end tokens a pass has, on average. This reads the lengths of all proteins."""
        total = 0.0
        for lengths, weights in self._pieces():
            total += float(((np.minimum(lengths, max_length) + 2) * weights).sum(dtype=np.float64))
        return total

    def _pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray | int]]:
        """The lengths of all proteins, and how often a pass draws each of them."""
        if self.clusters is None:
            for lengths, _ in self.proteins.pieces():
                yield lengths, 1
            return
        for members, sizes in self.clusters.pieces():
            lengths, _ = self.proteins.checked(members)
            yield lengths, np.repeat(1 / sizes, sizes)


def open_corpora(options: Data) -> list[Corpus]:
    """The corpora of `data.train`. Raises what IndexedProteins and Clusters raise."""
    corpora = []
    for source in options.sources:
        proteins = IndexedProteins(source.prefix)
        clusters = Clusters(source.clusters, len(proteins)) if source.clusters else None
        corpora.append(Corpus(proteins, source.share, clusters))
    return corpora


def counts_before(draw: int, shares: Sequence[Fraction]) -> list[int]:
    """How many of the first `draw` draws come from each corpus: exact integers that never fall as `draw` grows.

    The first corpus gets its share of the draws, rounded. The second gets its part of what is left, and so on. With m
    corpora none is ever further than m / 2 proteins from its share of the draws, so that no sequence of draws has more
    than m proteins too many or too few of one. The shares hold in every window, and by packing.py nearly in every
    batch.
    """
    counts = []
    rest, rest_share = draw, sum(shares, Fraction(0))
    for share in shares:
        counts.append(floor(rest * share / rest_share + Fraction(1, 2)))
        rest, rest_share = rest - counts[-1], rest_share - share
    return counts
