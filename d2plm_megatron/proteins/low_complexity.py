"""Low complexity by SEG (Wootton and Federhen, Computers & Chemistry 17:149, 1993, and Meth. Enzymol. 266:554, 1996).

A window of 12 residues whose entropy is at most 2.2 bits triggers. It is extended both ways over all windows of at most
2.5 bits, and of what they cover the stretch is kept that is least probable among random residues. These are the paper's
numbers and the defaults of NCBI's `seg`. `segmasker` of NCBI, as BLAST, trims 50 residues at most, not 100. MMseqs2
masks by tantan (Frith 2011), which looks for tandem repeats and finds other residues.
"""

import math
from collections.abc import Iterator

import numpy as np

from d2plm_megatron.proteins import alphabet

WINDOW = 12
TRIGGER_BITS = 2.2
EXTENSION_BITS = 2.5
_LONGEST_TRIM = 100
_MOST_OTHERS = 2
_BEFORE = (WINDOW + 1) // 2 - 1
_AFTER = WINDOW - _BEFORE
_LOG_FACTORIAL = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, alphabet.LONGEST_RESIDUES + 1)))])
_LOG_PLACE = np.log(np.arange(1, alphabet.NUM_CANONICAL + 1))


def low_complexity(sequence: str) -> np.ndarray:
    """Which residues of a protein lie in a segment of low complexity, bool [L].

    Letters that are no canonical residues count as nothing; a window with more than two of them never triggers. A
    protein of less than 12 residues has no window.
    """
    inside = np.zeros(len(sequence), dtype=bool)
    counts = _counts_before(sequence)
    for first, stop in _segments(counts, 0, len(sequence)):
        inside[first:stop] = True
    return inside


def _counts_before(sequence: str) -> np.ndarray:
    """How often each canonical residue stands before each place, int64 [L + 1, 20]."""
    residues = alphabet.encode(sequence).astype(np.int64) - alphabet.FIRST_CANONICAL
    ones = residues[:, None] == np.arange(alphabet.NUM_CANONICAL)
    return np.concatenate([np.zeros((1, alphabet.NUM_CANONICAL), dtype=np.int64), np.cumsum(ones, axis=0)])


def _segments(counts: np.ndarray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(first, stop) of the segments between two places of a protein; they may overlap."""
    bits = _entropies(counts[begin : end + 1])
    number = lowest = 0
    while number < len(bits):
        if bits[number] > TRIGGER_BITS:
            number += 1
            continue
        first, last = _extended(bits, number, lowest)
        start, stop = begin + first, begin + last + WINDOW
        left, right = _trimmed(counts[start : stop + 1])
        if number + WINDOW - 1 < left + first:  # the trigger was trimmed away: look into what lies left of the rest
            yield from _segments(counts, start, start + left)
        yield start + left, start + right
        number = min(last, first + right - 1) + 1
        lowest = number


def _entropies(counts: np.ndarray) -> np.ndarray:
    """Bits per residue of each window, float64 [L - 11]; infinite for one with too many other letters."""
    inside = (counts[WINDOW:] - counts[:-WINDOW]).astype(np.float64)
    total = inside.sum(1)
    shares = inside / np.maximum(total, 1)[:, None]
    bits = -(shares * np.log2(shares, out=np.zeros_like(shares), where=shares > 0)).sum(1)
    return np.where(total < WINDOW - _MOST_OTHERS, np.inf, bits)


def _extended(bits: np.ndarray, number: int, lowest: int) -> tuple[int, int]:
    """The first and the last window that a trigger extends to."""
    high = np.flatnonzero(bits > EXTENSION_BITS)
    before, after = high[high < number], high[high > number]
    first = max(lowest, int(before[-1]) + 1 if len(before) else 0)
    return first, int(after[0]) - 1 if len(after) else len(bits) - 1


def _trimmed(counts: np.ndarray) -> tuple[int, int]:
    """(first, stop) of the least probable stretch, the longest and leftmost of equals; at most 100 residues are cut."""
    length = len(counts) - 1
    cut, place = np.tril_indices(length - max(1, length - _LONGEST_TRIM))
    stop = place + length - cut
    if not len(cut):
        return 0, length
    best = int(_log_probability(counts[stop] - counts[place], length - cut).argmin())
    return int(place[best]), int(stop[best])


def _log_probability(inside: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """ln P0 of stretches with such counts, [N, 20]: the share of all stretches whose composition is like theirs."""
    ordered = np.sort(inside, axis=1)
    place, repeated = np.zeros(len(ordered), dtype=np.int64), np.zeros(len(ordered))
    for column in range(1, alphabet.NUM_CANONICAL):
        place = np.where(ordered[:, column] == ordered[:, column - 1], place + 1, 0)
        repeated += _LOG_PLACE[place]
    compositions = _LOG_FACTORIAL[alphabet.NUM_CANONICAL] - repeated
    orders = _LOG_FACTORIAL[inside.sum(1)] - _LOG_FACTORIAL[ordered].sum(1)
    result: np.ndarray = compositions + orders - lengths * math.log(alphabet.NUM_CANONICAL)
    return result.round(9)  # so that equals stay equal, whatever the order of the sums
