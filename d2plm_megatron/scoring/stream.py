"""Any number of proteins through a model, some packs of them at a time: the answers come in their order.

A pack is filled in the order given until the next protein does not fit. So packs, and with them the rounding of the
answers, are the same on any number of processes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.assembly import assemble_parts
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.data.windows import Window, tokens_of
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import answers

Answer = TypeVar("Answer")
Ask = Callable[[TokenBatch], Sequence[Answer]]
"""Gives the answer for each protein of a pack."""

PACKS_OF_EACH = 4
"""Packs that each process is handed at a time: few enough for memory, and enough to hide that processes wait."""


@dataclass(frozen=True)
class Part:
    """A protein, or a window of one, on its way through a model.

    Attributes:
        label: whatever is to come back with the answer.
        tokens: ids with the end tokens that it has, int64 [n].
        scored: which of them may be corrupted and are scored, bool [n].
    """

    label: Any
    tokens: np.ndarray
    scored: np.ndarray

    @classmethod
    def of(cls, label: Any, residues: np.ndarray, seen: slice | None = None) -> "Part":
        """A protein, or a slice of one, of which the canonical residues are scored."""
        seen = seen or slice(0, len(residues))
        return cls(label, *tokens_of(residues, Window(seen.start, seen.stop, seen.start)))


def ask_each(
    model: TrainedModel,
    parts: Iterable[Part],
    ask: Ask[Answer],
    tokens_per_pack: int,
    advance: Callable[[int], object],
) -> Iterator[tuple[Any, Answer]]:
    """Yields (label, answer) of each part, in order, on every process. They all take part.

    Args:
        model: whose processes share the packs.
        parts: read as they are needed.
        ask: what is to be known of each part of a pack, which is on this process's device.
        tokens_per_pack: at most, unless a single part has more.
        advance: told the number of parts of each pack that is done here.
    """

    def told(pack: TokenBatch) -> Sequence[Answer]:
        found = ask(pack)
        advance(len(pack.lengths_S))
        return found

    for some, packs in in_chunks(model, parts, tokens_per_pack):
        found = answers(packs, told, model.processes)
        yield from zip((part.label for part in some), chain.from_iterable(found), strict=True)


def in_chunks(
    model: TrainedModel, parts: Iterable[Part], tokens_per_pack: int
) -> Iterator[tuple[list[Part], list[TokenBatch]]]:
    """Yields (parts, their packs) some at a time, as many as the model's processes are to be handed at once."""
    groups = in_order(parts, lambda part: len(part.tokens), tokens_per_pack)
    while some := list(islice(groups, PACKS_OF_EACH * model.processes.data_size)):
        packs = [assemble_parts([(part.tokens, part.scored) for part in group]) for group in some]
        yield list(chain.from_iterable(some)), packs
