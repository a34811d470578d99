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
from d2plm_megatron.data.assembly import assemble
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import answers
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.given import is_canonical

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
    def of(cls, label: Any, residues: np.ndarray, window: slice | None = None, scored_from: int = 0) -> "Part":
        """A protein, or its residues in a window, of which the canonical ones from `scored_from` on are scored.

        Where a window cuts there is no end token, as in training.
        """
        window = window or slice(0, len(residues))
        begin, end = [alphabet.CLS] * (window.start == 0), [alphabet.EOS] * (window.stop == len(residues))
        tokens = np.array([*begin, *residues[window], *end], dtype=np.int64)
        place = np.arange(len(tokens)) - len(begin) + window.start
        return cls(label, tokens, is_canonical(tokens) & (place >= scored_from))


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
    groups = _in_groups(parts, tokens_per_pack)
    while some := list(islice(groups, PACKS_OF_EACH * model.processes.data_size)):
        yield list(chain.from_iterable(some)), [_pack(group) for group in some]


def _in_groups(parts: Iterable[Part], tokens_per_pack: int) -> Iterator[list[Part]]:
    group: list[Part] = []
    used = 0
    for part in parts:
        if group and used + len(part.tokens) > tokens_per_pack:
            yield group
            group, used = [], 0
        group.append(part)
        used += len(part.tokens)
    if group:
        yield group


def _pack(group: Sequence[Part]) -> TokenBatch:
    lengths = np.array([len(part.tokens) for part in group], dtype=np.int64)
    tokens, scored = (np.concatenate([getattr(part, name) for part in group]) for name in ("tokens", "scored"))
    numbers = np.arange(len(group))
    return assemble(tokens, lengths, numbers, numbers, scored, epoch=0)
