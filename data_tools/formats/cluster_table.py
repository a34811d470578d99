"""Tables of clusters, plain or compressed. Each line has a cluster, a tab and a protein's id, as MMseqs2 writes it."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from d2plm_megatron.compression import lines, open_text


def pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (cluster, id) of each line.

    Raises ValueError naming a line that is no such pair, or for an empty table, and what open_text and lines raise.
    """
    number = 0
    with open_text(path) as plain:
        for number, line in enumerate(lines(plain, path), start=1):
            cluster, _, name = line.strip().partition("\t")
            if not name or "\t" in name:
                raise ValueError(
                    f"{path}, line {number}: expected a cluster and an id with a tab between, not {line.strip()[:60]!r}"
                )
            yield cluster, name
    if not number:
        raise ValueError(f"{path}: the table is empty")


def check_one_cluster_each(path: Path, ids: np.ndarray, clusters: np.ndarray) -> None:
    """Raises ValueError naming an id that a table has in two clusters; `ids` and `clusters` are keys, by rising id."""
    wrong = np.flatnonzero((ids[1:] == ids[:-1]) & (clusters[1:] != clusters[:-1]))
    if wrong.size:
        names = {cluster: name for cluster, name in pairs(path) if key(name) == ids[wrong[0]]}
        one, other = list(names)[:2]
        raise ValueError(f"{path}: {names[one]} is in two clusters, {one} and {other}; a protein belongs to one")


def key(name: str) -> int:
    """A number that stands for an id or a cluster where there are many of them: 64 bits of its BLAKE2b."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
