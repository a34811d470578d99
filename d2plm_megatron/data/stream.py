"""The training data as an endless stream of packs, a pure function of (data, seed) that can be read from any place.

With one corpus an epoch is one pass over it: a permutation of its proteins, cut into windows of `window_proteins`. The
proteins of a window are packed together, and its packs are shuffled. Therefore a position in the stream is three small
integers, every protein comes once per epoch, lengths and corpora are mixed in every pack as in the permutation, and
the packs of a global batch do not depend on the number of processes.

Of several corpora each goes through passes of its own, with every protein once in each, and their draws are mixed in
exact shares (`counts_before`). As the passes end at different places, the stream is one endless epoch, number 0, whose
draws are cut into windows. The number of the draw is then the key of the noise, so that a protein meets new noise each
time that it is drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Self

import numpy as np
import torch

from d2plm_megatron.config import Data
from d2plm_megatron.data.corpus import Corpus, counts_before, open_corpora
from d2plm_megatron.data.draws import draw
from d2plm_megatron.data.packing import pack
from d2plm_megatron.data.slices import Slices, joined
from d2plm_megatron.rng import KeyedRng, Stream, seed_for


@dataclass(frozen=True)
class Position:
    """A place in the stream, given by the next pack."""

    epoch: int = 0
    window: int = 0
    pack: int = 0


class PackStream:
    """The packs of the data, in order.

    Attributes:
        sources: the proteins of each corpus.
        num_windows: how many windows an epoch has; None for several corpora, whose epoch has no end.

    Args:
        corpora: the data.
        options: how long proteins may be, how many tokens a pack has, and how many proteins a window.
        seed: the seed of the run.
    """

    def __init__(self, corpora: Sequence[Corpus], options: Data, seed: int) -> None:
        self.corpora = corpora
        self.options = options
        self.seed = seed
        self.sources = [corpus.proteins for corpus in corpora]
        self._epoch_draws = len(corpora[0]) if len(corpora) == 1 else None
        self.num_windows = -(-len(corpora[0]) // options.window_proteins) if len(corpora) == 1 else None

    @classmethod
    def open(cls, options: Data, seed: int) -> Self:
        """The stream of `data.train`, which must be given. Raises what `open_corpora` raises."""
        return cls(open_corpora(options), options, seed)

    def packs_from(self, position: Position) -> Iterator[tuple[Slices, int, Position]]:
        """Yields (the slices of a pack, its epoch, the position after it) without end."""
        while True:
            packs = self.window(position.epoch, position.window)
            for number in range(position.pack, len(packs)):
                after = Position(position.epoch, position.window, number + 1)
                yield packs[number], position.epoch, after
            next_window = position.window + 1
            wraps = next_window == self.num_windows
            position = Position(position.epoch + wraps, 0 if wraps else next_window, 0)

    def window(self, epoch: int, window: int) -> list[Slices]:
        """The packs of a window, in order."""
        first = window * self.options.window_proteins
        last = first + self.options.window_proteins
        if self._epoch_draws is None:
            slices = self._mixed(first, last)
        else:
            last, before = min(last, self._epoch_draws), epoch * self._epoch_draws
            slices = draw(self.corpora[0], before + first, before + last, self.seed, self.options)
        packs = pack(slices.num_tokens, self.options.tokens_per_pack)
        order = KeyedRng(self.seed, epoch).bits(Stream.PACKS, window, torch.arange(len(packs))).argsort().tolist()
        slices = slices.take([item for number in order for item in packs[number]])
        slices = replace(slices, stream_index=np.arange(first, last))
        if self._epoch_draws is None:
            slices = replace(slices, samples=slices.stream_index)
        bounds = accumulate((len(packs[number]) for number in order), initial=0)
        return [slices.take(slice(begin, end)) for begin, end in pairwise(bounds)]

    def check(self, position: Position) -> None:
        """Raises ValueError unless the stream can be read from this position."""
        if self.num_windows is not None and position.window >= self.num_windows:
            raise ValueError(f"{position}: the data have {self.num_windows} windows; this is no place in them")

    def name_of(self, sample: int) -> str:
        """Tells the user which protein of which corpus the sample id in a pack stands for."""
        if self._epoch_draws is not None:
            return f"number {sample} of {self.sources[0].prefix}"
        drawn = joined(self.window(0, sample // self.options.window_proteins))
        [place] = np.flatnonzero(drawn.samples == sample)
        return f"number {drawn.proteins[place]} of {self.sources[drawn.corpora[place]].prefix}"

    def _mixed(self, first: int, last: int) -> Slices:
        """The slices that the draws `first` to `last` of the mixture bring, with the corpora evenly interleaved."""
        shares = [corpus.share for corpus in self.corpora]
        parts, places = [], []
        bounds = zip(counts_before(first, shares), counts_before(last, shares), strict=True)
        for number, (corpus, (begin, end)) in enumerate(zip(self.corpora, bounds, strict=True)):
            part = draw(corpus, begin, end, seed_for(Stream.CORPUS, self.seed, number), self.options)
            parts.append(replace(part, corpora=np.full(end - begin, number)))
            places.append((np.arange(end - begin) + 0.5) / max(1, end - begin))
        return joined(parts).take(np.argsort(np.concatenate(places), kind="stable"))
