"""Tandem repeats, letter by letter."""

import numpy as np
import pytest

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.repeats import in_repeats

UNIT = "MKTAYIAKQRQISFVKSHFS"


@pytest.mark.parametrize(
    ("sequence", "inside"),
    [
        ("LAGVAAAAASERT", "LAGV.....SERT"),
        ("LAGVAAAASERT", "LAGVAAAASERT"),
        ("MGSGSGSP", "M......P"),
        ("W" + UNIT + UNIT + "C", "W" + 40 * "." + "C"),
        ("W" + UNIT + UNIT[:-1] + "W", "W" + UNIT + UNIT[:-1] + "W"),
        ("XXXXXXXX", "XXXXXXXX"),
        ("M", "M"),
    ],
)
def test_two_copies_in_a_row_are_found(sequence: str, inside: str) -> None:
    found = "".join("." if is_in else letter for letter, is_in in zip(sequence, in_repeats(sequence), strict=True))
    assert found == inside


def test_random_residues_hardly_repeat() -> None:
    letters = np.random.default_rng(0).choice(list(CANONICAL_LETTERS), 20_000)
    assert in_repeats("".join(letters)).mean() < 0.002
