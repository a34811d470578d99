"""Which proteins are held out, by a keyed hash of the sequence, of the id, or of the protein's cluster.

The hash of a protein does not depend on the other proteins. Each protein therefore stays where it is when the database
grows or is reordered, and a larger fraction contains the smaller one. Validation takes the lowest hashes and the test
side the highest, so that neither moves the other. Identical sequences are held out together or not at all; by cluster,
so are all members of a cluster.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FRACTION, LARGEST_DEFAULT, ENOUGH = 0.005, 0.1, 100
"""Without a fraction asked for: this one, or for few records up to the next, as far as that gives enough proteins."""
MANY_RECORDS = int(ENOUGH / DEFAULT_FRACTION)
"""Records from which on the default fraction holds out enough of them."""

_HASH_KEY = b"d2plm holdout"
_HASH_BYTES = 8
_CLUSTER_OF_HEADER = (re.compile(r"UniRef50_[^\s|;,]+"), re.compile(r"UniRef90_[^\s|;,]+"))

BY = ("sequence", "id", "cluster")

TRAINING, VALIDATION, TEST = 0, 1, 4
"""The sides of a split; they are outcomes, too, and the numbers between them those of outcomes.py."""


def is_held_out(key: str, fraction: float) -> bool:
    """Whether a sequence, id or cluster belongs to the fraction that is held out for validation.

    It does if BLAKE2b of its letters, read as a number in [0, 1), is below the fraction.
    """
    return _hash(key) < fraction * 256**_HASH_BYTES


def is_for_test(key: str, fraction: float) -> bool:
    """Whether a sequence, id or cluster belongs to the fraction with the highest hashes, which are for the test."""
    return 256**_HASH_BYTES - 1 - _hash(key) < fraction * 256**_HASH_BYTES


def fraction_to_hold_out(asked: float | None, num_records: int) -> float:
    """The fraction that is asked for, or one that suits the number of records, which is exact below MANY_RECORDS.

    Raises ValueError if less than one record would be held out on average.
    """
    suitable = min(LARGEST_DEFAULT, max(DEFAULT_FRACTION, ENOUGH / num_records))
    fraction = suitable if asked is None else asked
    check_enough("--validation", fraction, num_records, "0 for none")
    return float(f"{fraction:.3g}") if asked is None else fraction


def check_enough(option: str, fraction: float, num_records: int, none: str) -> None:
    """Raises ValueError if a fraction of the records, exact below MANY_RECORDS, is less than one; `none` asks for 0."""
    if 0 < fraction * num_records < 1 and num_records < MANY_RECORDS:
        more = f"{option} {5 / num_records:.2g}, for about 5" if num_records >= 10 else "10 records or more"
        raise ValueError(f"{option} {fraction}: is less than one of {num_records:,} records; give {more}, or {none}")


@dataclass(frozen=True)
class HoldOut:
    """How the proteins of validation and test are chosen.

    Attributes:
        fraction: how much of what is hashed is held out for validation.
        by: one of BY.
        clusters: for "cluster", a table of MMseqs2 with a representative, a tab and a member on each line. Without one
            the header names the cluster: UniRef50_... where it is given, else UniRef90_...
        test: how much is held out for the test.
    """

    fraction: float
    by: str = "sequence"
    clusters: Path | None = None
    test: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"--validation {self.fraction}: expected 0 up to but not 1, as 0.05 for 5%")
        if not 0 <= self.test < 1:
            raise ValueError(f"--test {self.test}: expected more than 0 and less than 1, as 0.01 for 1%")
        if self.fraction + self.test >= 1:
            raise ValueError(f"--validation {self.fraction} and --test {self.test} leave nothing to train on")
        if self.by not in BY:
            raise ValueError(f"--split-by {self.by}: expected {', '.join(BY)}")
        if self.clusters and self.by != "cluster":
            raise ValueError("--clusters is the table for --split-by cluster; say that too")

    def side(self, header: str, sequence: str) -> int:
        """The side of a protein: TRAINING, VALIDATION or TEST. With a table of clusters it is TRAINING.

        The table is read later and decides. Raises ValueError naming a protein whose header has no UniRef cluster, when
        the cluster decides.
        """
        if self.clusters:
            return TRAINING
        if self.by == "cluster":
            return self.side_of(cluster_of(header))
        return self.side_of(sequence if self.by == "sequence" else header.split()[0])

    def side_of(self, key: str) -> int:
        """The side of a sequence, id or cluster."""
        if is_held_out(key, self.fraction):
            return VALIDATION
        return TEST if is_for_test(key, self.test) else TRAINING


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES, key=_HASH_KEY).digest()
    return int.from_bytes(digest, "big")


def cluster_of(header: str) -> str:
    """The largest UniRef cluster that a header names. Raises ValueError for a header that names none."""
    for pattern in _CLUSTER_OF_HEADER:
        found = pattern.search(header)
        if found:
            return found.group()
    raise ValueError(
        f"{header.split()[0]}: its header names no cluster (UniRef50_... or UniRef90_...); give a table by --clusters, "
        "or choose --split-by sequence"
    )
