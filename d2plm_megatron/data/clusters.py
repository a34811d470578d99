"""Clusters of proteins, of which a pass over a corpus draws one member each: PREFIX.clusters.npy.

As ESM-2 (Lin et al. 2023) draws a UniRef50 cluster and then one of its UniRef90 members, so that large families, of
which there are many near-copies, do not crowd out the rest. The file is one array, int64 [C + 1 + N]:

    [C+1]  boundaries 0, ..., N of the clusters
    [N]    the proteins, by their numbers in PREFIX.idx, cluster after cluster

so cluster c holds the proteins from boundary c to boundary c + 1, in any order, and each protein is in one cluster.
"""

from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from d2plm_megatron.config import CLUSTERS_ENDING
from d2plm_megatron.files import atomic
from d2plm_megatron.noise import Noise, Stream


class Clusters:
    """The clusters of a file, mapped into memory and read when asked for; `len(clusters)` is C.

    boundaries   int64 [C + 1]
    members      int64 [N]

    Args:
        path: of the file.
        num_proteins: of the corpus, N.

    Raises FileNotFoundError if there is no such file and ValueError if it is no clustering of N proteins; only the ends
    are looked at, and what is drawn.
    """

    def __init__(self, path: str | Path, num_proteins: int) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path} is missing; d2plm_megatron.data.clusters.write_clusters makes it")
        try:
            both = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):
            raise ValueError(f"{path} is no .npy file, or is cut off; make it again") from None
        size = both.size - num_proteins
        if both.dtype != np.int64 or both.ndim != 1 or size < 2 or both[0] != 0 or both[size - 1] != num_proteins:
            raise ValueError(f"{path} does not hold the clusters of {num_proteins:,} proteins; make it for these data")
        self.boundaries = both[:size].view(np.ndarray)
        self.members = both[size:].view(np.ndarray)

    def __len__(self) -> int:
        return len(self.boundaries) - 1

    def draw(self, chosen: Tensor, noise: Noise) -> Tensor:
        """One protein of each of the chosen clusters, int64: by the noise of the pass and the cluster."""
        begins = self.boundaries[chosen.numpy()]
        sizes = self.boundaries[chosen.numpy() + 1] - begins
        if (begins < 0).any() or (sizes <= 0).any() or (begins + sizes > len(self.members)).any():
            raise ValueError(f"{self.path} is damaged: some cluster has no members; make it again")
        members = self.members[begins + noise.integers(Stream.MEMBER, from_numpy(sizes), chosen).numpy()]
        if (members < 0).any() or (members >= len(self.members)).any():
            raise ValueError(f"{self.path} is damaged: it names a protein that does not exist; make it again")
        return from_numpy(members)


def write_clusters(prefix: str | Path, cluster_of: np.ndarray) -> Path:
    """Writes PREFIX.clusters.npy, atomically; returns its path.

    Args:
        prefix: of the corpus.
        cluster_of: a number for the cluster of each protein, in the order of PREFIX.idx, any integers [N].

    Members keep their order. Takes about 40 bytes of memory per protein. Raises ValueError when there are none.
    """
    if cluster_of.ndim != 1 or cluster_of.size == 0 or cluster_of.dtype.kind not in "iu":
        raise ValueError(f"{prefix}: clusters are one integer per protein, not {cluster_of.dtype} {cluster_of.shape}")
    members = np.argsort(cluster_of, kind="stable")
    changes = np.flatnonzero(np.diff(cluster_of[members])) + 1
    path = Path(f"{prefix}{CLUSTERS_ENDING}")
    with atomic(path) as (temporary,), temporary.open("wb") as file:
        np.save(file, np.concatenate([[0], changes, [len(members)], members]).astype(np.int64))
    return path
