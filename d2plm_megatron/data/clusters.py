"""Clusters of proteins, of which a pass over a corpus draws one member each.

As ESM-2 (Lin et al. 2023) draws a UniRef50 cluster and then one of its UniRef90 members, so that large families, of
which there are many near-copies, do not crowd out the rest.
"""

from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

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
            raise FileNotFoundError(f"{path} is missing; python -m data_tools.cluster makes it")
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
