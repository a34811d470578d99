"""Clusters of proteins, of which a pass over a corpus draws one member each.

ESM-2 (Lin et al. 2023) drew a UniRef50 cluster and then one of its UniRef90 members. Large families, of which there are
many near-copies, then do not crowd out the others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.data.checksums import sample_of
from d2plm_megatron.data.mapped import MappedFile

_CLUSTERS_AT_ONCE = 1 << 20


class Clusters:
    """The clusters in a file, which is mapped into memory; `len(clusters)` is C.

    Args:
        path: of the file.
        num_proteins: how many proteins the corpus has, N.

    Raises FileNotFoundError if there is no such file, and ValueError if it is no clustering of N proteins. Opening
    checks the ends of the file only; a cluster is checked when it is drawn, which raises ValueError if it is damaged.
    """

    def __init__(self, path: str | Path, num_proteins: int) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path} is missing; python -m data_tools.cluster makes it")
        try:
            self._file = MappedFile(self.path)
            both = np.lib.format.open_memmap(self.path, mode="r")
        except (ValueError, EOFError):
            raise ValueError(f"{path} is no .npy file, or is cut off; make it again") from None
        size = both.size - num_proteins
        if both.dtype != np.int64 or both.ndim != 1 or size < 2 or both[0] != 0 or both[size - 1] != num_proteins:
            raise ValueError(f"{path} does not hold the clusters of {num_proteins:,} proteins; make it for these data")
        self._boundaries = both[:size].view(np.ndarray)
        self._members = both[size:].view(np.ndarray)

    def __len__(self) -> int:
        return len(self._boundaries) - 1

    def sizes(self, chosen: np.ndarray) -> np.ndarray:
        """How many members each of the chosen clusters has, int64."""
        self._file.check_size()
        return self._sizes(self._boundaries[chosen], self._boundaries[chosen + 1])

    def members(self, chosen: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Of each of the chosen clusters one protein, the member of this number from 0, int64."""
        self._file.check_size()
        return self._checked(self._members[self._boundaries[chosen] + numbers])

    def identity(self) -> dict[str, Any]:
        """What tells these clusters from others, as JSON: their number, and a checksum of a sample of the file."""
        return {"clusters": len(self), "sample": sample_of([self._file])}

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (proteins, sizes) of all clusters in order, some million proteins at a time; both are int64."""
        for first in range(0, len(self), _CLUSTERS_AT_ONCE):
            self._file.check_size()
            bounds = self._boundaries[first : first + _CLUSTERS_AT_ONCE + 1]
            sizes = self._sizes(bounds[:-1], bounds[1:])
            yield self._checked(self._members[bounds[0] : bounds[-1]]), sizes

    def _sizes(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        if (begins < 0).any() or (ends <= begins).any() or (ends > len(self._members)).any():
            raise ValueError(f"{self.path} is damaged: some cluster has no members; make it again")
        sizes: np.ndarray = ends - begins
        return sizes

    def _checked(self, members: np.ndarray) -> np.ndarray:
        if (members < 0).any() or (members >= len(self._members)).any():
            raise ValueError(f"{self.path} is damaged: it names a protein that does not exist; make it again")
        return members
