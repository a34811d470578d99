"""Segments of low complexity against NCBI's `seg` (release of 2000-06-20) and against the formulas by hand."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from d2plm_megatron.proteins import low_complexity as seg
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.low_complexity import low_complexity

BEGIN, END = "MKTAYIAKQRQISFVKSHFSRQ", "SERTWYHKDPNCQMV"


def masked(sequence: str) -> str:
    """As seg prints it with -x."""
    return "".join("x" if low else letter for letter, low in zip(sequence, low_complexity(sequence), strict=True))


def test_segments_are_those_of_ncbi() -> None:
    assert masked(BEGIN + 12 * "A" + "LLLGGG" + END) == BEGIN + 18 * "x" + END
    assert not low_complexity(CANONICAL_LETTERS * 3).any()
    assert masked("PEPTIDE" + 14 * "Q") == "PEPTIDE" + 14 * "x"


def test_windows_have_the_entropy_of_their_letters() -> None:
    window = "AAAAAALLLGGS"
    by_hand = -sum(n / 12 * math.log2(n / 12) for n in (6, 3, 2, 1))
    assert seg._entropies(seg._counts_before(window)).tolist() == pytest.approx([by_hand])
    assert seg._entropies(seg._counts_before("AAAAAALLLXXX")).tolist() == [math.inf]


def log_p0(letters: str) -> float:
    """ln(Omega F / 20^L) of Wootton and Federhen, with exact integers."""
    counts = [Counter(letters)[letter] for letter in CANONICAL_LETTERS]
    orders, compositions = math.factorial(len(letters)), math.factorial(20)
    for count in counts:
        orders //= math.factorial(count)
    for multiplicity in Counter(counts).values():
        compositions //= math.factorial(multiplicity)
    return math.log(orders) + math.log(compositions) - len(letters) * math.log(20)


def test_what_is_kept_is_the_least_probable_stretch_of_all() -> None:
    stretch = "FLGGEFGEDVVVGGGFSG"
    ends = itertools.combinations(range(len(stretch) + 1), 2)
    least = min((stretch[a:b] for a, b in ends if b - a > 1), key=log_p0)
    left, right = seg._trimmed(seg._counts_before(stretch))
    assert stretch[left:right] == least == "GGEFGEDVVVGGGFSG"


def test_the_probability_sums_to_one_over_all_pairs_of_residues() -> None:
    found = [seg._log_probability(seg._counts_before(x)[-1:], np.array([2]))[0] for x in ("AA", "AL")]
    assert np.exp(found) == pytest.approx([0.05, 0.95])


def test_short_and_long_proteins() -> None:
    assert not low_complexity("AAAAAAAAAAA").any()
    assert low_complexity(12 * "A").all()
    assert low_complexity(2000 * "A").mean() > 0.9
    assert not low_complexity(40 * "X").any()
