"""Reads the packs of each global batch that belong to this process, in the background."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.order import permuted
from d2plm_megatron.data.packing import pack
from d2plm_megatron.data.slices import crop
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.rng import KeyedRng, Stream, seed_for

Item = TypeVar("Item")

AHEAD = 4
"""Global batches read in advance."""


@dataclass(frozen=True)
class GlobalBatch:
    """What one optimizer step reads.

    Attributes:
        packs: the packs of this process, which are its micro-batches.
        num_proteins: how many proteins the packs of all processes have.
        num_tokens: how many tokens these packs have, without padding.
        sum_squared_lengths: the squares of these proteins' tokens, summed, to which the cost of attention is
            proportional.
        after: where the stream stands when all of these packs are consumed.
    """

    packs: list[TokenBatch]
    num_proteins: int
    num_tokens: int
    sum_squared_lengths: int
    after: Position


def global_batches(
    stream: PackStream, position: Position, packs_per_batch: int, rank: int, num_ranks: int
) -> Iterator[GlobalBatch]:
    """Yields global batches from a position on, without end. Data-parallel rank j mod num_ranks gets pack j of each."""
    source = stream.packs_from(position)
    while True:
        taken = [next(source) for _ in range(packs_per_batch)]
        lengths = [slices.num_tokens for slices, _, _ in taken]
        yield GlobalBatch(
            packs=[
                to_batch(stream.sources, slices, epoch, stream.options).pinned()
                for slices, epoch, _ in taken[rank::num_ranks]
            ],
            num_proteins=sum(len(numbers) for numbers in lengths),
            num_tokens=sum(int(numbers.sum()) for numbers in lengths),
            sum_squared_lengths=sum(int((numbers**2).sum()) for numbers in lengths),
            after=taken[-1][2],
        )


def validation_packs(
    proteins: IndexedProteins, options: Data, max_proteins: int, rank: int, num_ranks: int
) -> list[TokenBatch]:
    """This process's packs of a fixed sample of the proteins, the same for any seed and at every call.

    Every process gets the same number of packs, because all must take part in each step of the encoder. The last packs
    may have nothing but padding. Raises ValueError, in every process, when there is no canonical residue in the sample.
    """
    rng = KeyedRng(seed_for(Stream.HELD_OUT, 0), epoch=0)
    chosen = permuted(torch.arange(min(max_proteins, len(proteins))), len(proteins), rng)
    slices = crop(proteins, chosen, options, rng)
    packs = pack(slices.num_tokens, options.tokens_per_pack)

    def batch(items: list[int]) -> TokenBatch:
        return to_batch([proteins], slices.take(items), epoch=0, options=options)

    if not any(batch(items).scored_T.any() for items in packs):
        raise ValueError(f"{proteins.prefix}: nothing to score: no canonical residue in {len(chosen):,} proteins of it")
    packs += [[]] * (-len(packs) % num_ranks)
    return [batch(items) for items in packs[rank::num_ranks]]


class Prefetch(Generic[Item]):
    """Iterates over `source` in a thread of its own, a few items ahead. Errors of that thread are raised here.

    Use it as a context manager, so that the thread ends with the block.
    """

    def __init__(self, source: Iterable[Item], ahead: int = AHEAD) -> None:
        self._items: queue.Queue[Item | Exception] = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), daemon=True, name="prefetch")

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return iter(self._drain())

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _fill(self, source: Iterable[Item]) -> None:
        try:
            for item in source:
                if not self._put(item):
                    return
            self._put(StopIteration())
        except Exception as error:  # whatever it is, it belongs to the thread that asked
            self._put(error)

    def _put(self, item: Item | Exception) -> bool:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _drain(self) -> Iterator[Item]:
        while True:
            item = self._items.get()
            if isinstance(item, StopIteration):
                return
            if isinstance(item, Exception):
                raise item
            yield item
