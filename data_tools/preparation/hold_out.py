"""Which proteins are held out for validation, by a keyed hash of the sequence, of the id, or of the protein's cluster.

The hash of a protein does not depend on the other proteins. Each protein therefore stays where it is when the database
grows or is reordered, and a larger fraction contains the smaller one. Identical sequences are held out together or not
at all; by cluster, so are all members of a cluster.
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


def is_held_out(key: str, fraction: float) -> bool:
    """Whether a sequence, id or cluster belongs to the fraction that is held out.

    It does if BLAKE2b of its letters, read as a number in [0, 1), is below the fraction.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES, key=_HASH_KEY).digest()
    return int.from_bytes(digest, "big") < fraction * 256**_HASH_BYTES


def fraction_to_hold_out(asked: float | None, num_records: int) -> float:
    """The fraction that is asked for, or one that suits the number of records, which is exact below MANY_RECORDS.

    Raises ValueError if less than one record would be held out on average.
    """
    suitable = min(LARGEST_DEFAULT, max(DEFAULT_FRACTION, ENOUGH / num_records))
    fraction = suitable if asked is None else asked
    if 0 < fraction * num_records < 1 and num_records < MANY_RECORDS:
        more = f"--validation {5 / num_records:.2g}, for about 5" if num_records >= 10 else "10 records or more"
        raise ValueError(
            f"--validation {fraction}: is less than one of {num_records:,} records; give {more}, or 0 for none"
        )
    return float(f"{fraction:.3g}") if asked is None else fraction


@dataclass(frozen=True)
class HoldOut:
    """How the proteins of validation are chosen.

    Attributes:
        fraction: how much of what is hashed is held out.
        by: one of BY.
        clusters: for "cluster", a table of MMseqs2 with a representative, a tab and a member on each line. Without one
            the header names the cluster: UniRef50_... where it is given, else UniRef90_...
    """

    fraction: float
    by: str = "sequence"
    clusters: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"--validation {self.fraction}: expected 0 up to but not 1, as 0.05 for 5%")
        if self.by not in BY:
            raise ValueError(f"--split-by {self.by}: expected {', '.join(BY)}")
        if self.clusters and self.by != "cluster":
            raise ValueError("--clusters is the table for --split-by cluster; say that too")

    def holds_out(self, header: str, sequence: str) -> bool:
        """Whether a protein is held out. With a table of clusters this is false: the table is read later and decides.

        Raises ValueError naming a protein whose header has no UniRef cluster, when the cluster decides.
        """
        if self.by == "sequence":
            return is_held_out(sequence, self.fraction)
        if self.by == "id":
            return is_held_out(header.split()[0], self.fraction)
        return self.clusters is None and is_held_out(cluster_of(header), self.fraction)


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
