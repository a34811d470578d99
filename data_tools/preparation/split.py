"""Which proteins are held out for validation: a keyed hash of the sequence, of the id, or of the protein's cluster.

A hash does not look at the other proteins, so each stays on its side when the database grows or is reordered, and a
larger share contains the smaller one. By sequence, identical proteins are on the same side; by cluster, all members.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_HASH_KEY = b"d2plm holdout"
_HASH_BYTES = 8
_CLUSTER_OF_HEADER = (re.compile(r"UniRef50_[^\s|;,]+"), re.compile(r"UniRef90_[^\s|;,]+"))

BY = ("sequence", "id", "cluster")


def is_held_out(key: str, share: float) -> bool:
    """Whether a sequence, id or cluster is in the share held out.

    It is if BLAKE2b of its letters, as a number in [0, 1), is below `share`.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES, key=_HASH_KEY).digest()
    return int.from_bytes(digest, "big") < share * 256**_HASH_BYTES


@dataclass(frozen=True)
class Split:
    """How the sides are chosen.

    Attributes:
        share: of what is hashed, held out.
        by: one of BY.
        clusters: for "cluster", a table of MMseqs2 (representative, tab, member on each line); None to take the
            cluster from the header, UniRef50_... where it is, else UniRef90_...
    """

    share: float
    by: str = "sequence"
    clusters: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"--validation {self.share}: expected 0 up to but not 1, as 0.05 for 5%")
        if self.by not in BY:
            raise ValueError(f"--split-by {self.by}: expected {', '.join(BY)}")
        if self.clusters and self.by != "cluster":
            raise ValueError("--clusters is the table for --split-by cluster; say that too")

    def holds_out(self, header: str, sequence: str) -> bool:
        """The side of a protein, as far as it shows; with a table of clusters false, since the table decides later.

        Raises ValueError naming a protein whose header has no UniRef cluster when that is what decides.
        """
        if self.by == "sequence":
            return is_held_out(sequence, self.share)
        if self.by == "id":
            return is_held_out(header.split()[0], self.share)
        return self.clusters is None and is_held_out(cluster_of(header), self.share)


def cluster_of(header: str) -> str:
    """The UniRef cluster that a header names, the widest there is. Raises ValueError for a header without one."""
    for pattern in _CLUSTER_OF_HEADER:
        found = pattern.search(header)
        if found:
            return found.group()
    raise ValueError(
        f"{header.split()[0]}: its header names no cluster (UniRef50_... or UniRef90_...); give a table by --clusters, "
        "or choose --split-by sequence"
    )
