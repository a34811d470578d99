"""A fixed sample of proteins, of about so many residues: every one, every second, every third and so on."""

import math

MOST_RESIDUES = 20_000_000
"""That n-grams are fitted to, which takes some ten seconds and 250 MB."""


def spacing(residues: int, most: float) -> int:
    """The distance from one protein of the sample to the next: 1 where all of them have no more than `most` residues.

    Args:
        residues: of all proteins together.
        most: that the sample should have, about; less than one is taken for one.
    """
    return max(1, math.ceil(residues / max(1.0, most)))
