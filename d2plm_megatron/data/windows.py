"""Whole proteins cut into what a model takes at once, in packs: each residue is scored once, after all before it.

This is how a likelihood is measured. What is asked about a single residue is asked in a window `around` it.

A protein of up to W residues is one window. Of a longer one the first window is its first W residues, all scored. Each
further one begins half a window later, the last so that it ends with the protein, and scores what none before it has.
The residues in front of those are context: they are always seen. Therefore the windows of a protein are a product of
conditional distributions, p(first) p(next | some before it) ..., and the sum of their bounds bounds the likelihood of
the whole protein.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.assembly import ScoredTokens, assemble_parts
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.proteins import alphabet


@dataclass(frozen=True)
class Window:
    """Residues `start` to `stop` of a protein, of which those from `scored_from` on are scored; all count from 0."""

    start: int
    stop: int
    scored_from: int


def windows(num_residues: int, longest: int) -> Iterator[Window]:
    """The windows of a protein, in order; `longest` is the residues of one, at least 2."""
    done = min(longest, num_residues)
    yield Window(0, done, 0)
    while done < num_residues:
        stop = min(done + longest // 2, num_residues)
        yield Window(stop - longest, stop, done)
        done = stop


def around(places: Sequence[int], num_residues: int, longest: int) -> slice:
    """The residues that a model sees of a protein that is longer than `longest`, to be asked about some places.

    As ProteinGym has it (get_optimal_window): the places are in the middle, but where the protein ends before. Where
    they are further apart than `longest`, the window holds all of them.
    """
    first, last = min(places, default=0), max(places, default=0)
    size = max(min(longest, num_residues), last - first + 1)
    start = min(max((first + last + 1) // 2 - size // 2, 0), num_residues - size)
    return slice(start, start + size)


def pack_windows(
    proteins: Sequence[np.ndarray], longest: int, tokens_per_pack: int
) -> tuple[tuple[TokenBatch, ...], np.ndarray]:
    """(packs of all windows, in order and without padding; the number of the protein of each window, int64).

    The ends of a protein have their tokens, the other ends of windows have none, as in training. Canonical residues are
    scored, all others are context.

    Args:
        proteins: ids of their residues.
        longest: residues of a window.
        tokens_per_pack: at most, unless a single window has more.
    """
    cut = [(number, window) for number, ids in enumerate(proteins) for window in windows(len(ids), longest)]
    parts = [tokens_of(proteins[number], window) for number, window in cut]
    packs = list(in_order(parts, lambda part: len(part[0]), tokens_per_pack))
    first = accumulate(map(len, packs), initial=0)
    return tuple(map(assemble_parts, packs, first)), np.array([number for number, _ in cut], dtype=np.int64)


def tokens_of(ids: np.ndarray, window: Window) -> ScoredTokens:
    """The tokens of a window of a protein, whose canonical residues are scored. Where it cuts there is no end token."""
    begin, end = [alphabet.CLS] * (window.start == 0), [alphabet.EOS] * (window.stop == len(ids))
    tokens = np.array([*begin, *ids[window.start : window.stop], *end], dtype=np.int64)
    place = np.arange(len(tokens)) - len(begin) + window.start
    return tokens, alphabet.is_canonical(tokens) & (place >= window.scored_from)
