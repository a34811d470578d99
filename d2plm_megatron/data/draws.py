"""What the draws of a pass over a corpus bring: the order, a member of each cluster, and a part of a long protein."""

import torch
from torch import Tensor, from_numpy

from d2plm_megatron.config import Data
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.order import permuted
from d2plm_megatron.data.slices import Slices, crop
from d2plm_megatron.rng import KeyedRng, Stream


def draw(corpus: Corpus, first: int, last: int, seed: int, options: Data) -> Slices:
    """What draws first to last, counted over all passes, bring: each pass is a permutation of its own."""
    draws = torch.arange(first, last)
    rng = KeyedRng(seed, draws // len(corpus))
    chosen = permuted(draws % len(corpus), len(corpus), rng)
    if corpus.clusters is not None:
        chosen = draw_members(corpus.clusters, chosen, rng)
    return crop(corpus.proteins, chosen, options, rng)


def draw_members(clusters: Clusters, chosen: Tensor, rng: KeyedRng) -> Tensor:
    """One protein of each of the chosen clusters, int64: by the noise of the pass and the cluster."""
    sizes = clusters.sizes(chosen.numpy())
    numbers = rng.integers(Stream.MEMBER, from_numpy(sizes), chosen)
    return from_numpy(clusters.members(chosen.numpy(), numbers.numpy()))
