"""Tandem repeats, letter by letter: a unit of 1 to 50 residues that follows itself.

A stretch of period p counts when at least p residues, and at least 4, equal the one p places before: poly-A from five
residues on, GSGSGS, or any two copies of a longer unit. Among random residues with the composition of proteins one in
about two thousand lies in such a stretch. Repeats that have diverged are not found, as they are by T-REKS (Jorda and
Kajava 2009) or by tantan (Frith 2011).
"""

import numpy as np

from d2plm_megatron.proteins import alphabet

LONGEST_UNIT = 50
_FEWEST_EQUAL = 4


def in_repeats(sequence: str) -> np.ndarray:
    """Which residues of a protein lie in a tandem repeat, bool [L]; letters that are no canonical residue do not."""
    residues = alphabet.encode(sequence)
    canonical = residues < alphabet.CANONICAL.stop
    inside = np.zeros(len(residues), dtype=bool)
    for period in range(1, min(LONGEST_UNIT, len(residues) // 2) + 1):
        same = (residues[period:] == residues[:-period]) & canonical[period:]
        for first, stop in _runs(same, max(period, _FEWEST_EQUAL)):
            inside[first : stop + period] = True
    return inside


def _runs(same: np.ndarray, shortest: int) -> np.ndarray:
    """(first, stop) of the runs of True of at least this length, int64 [N, 2]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    found: np.ndarray = runs[runs[:, 1] - runs[:, 0] >= shortest]
    return found
