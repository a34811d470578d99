"""The file that says which proteins of a corpus belong together, PREFIX.clusters.npy: one array, int64 [C + 1 + N].

    [C+1]  boundaries 0, ..., N of the clusters
    [N]    the proteins, by their numbers in PREFIX.idx, cluster after cluster

Cluster c consists of the proteins from boundary c to boundary c + 1, in any order. Each protein is in one cluster.
"""

from pathlib import Path

import numpy as np

from d2plm_megatron.files import atomic


def write_clusters(path: Path, cluster_of: np.ndarray) -> Path:
    """Writes the file of the clusters atomically, and returns its path.

    Args:
        path: where to write, PREFIX.clusters.npy.
        cluster_of: the cluster of each protein in the order of PREFIX.idx, as any integer, [N].

    The members of a cluster keep their order. This takes about 40 bytes of memory per protein. Raises ValueError if
    there is no protein.
    """
    if cluster_of.ndim != 1 or cluster_of.size == 0 or cluster_of.dtype.kind not in "iu":
        raise ValueError(f"{path}: clusters are one integer per protein, not {cluster_of.dtype} {cluster_of.shape}")
    members = np.argsort(cluster_of, kind="stable")
    changes = np.flatnonzero(np.diff(cluster_of[members])) + 1
    with atomic(path) as (temporary,), temporary.open("wb") as file:
        np.save(file, np.concatenate([[0], changes, [len(members)], members]).astype(np.int64))
    return path
