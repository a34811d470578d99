"""Files mapped into memory, of any size, of which only what is asked for is read."""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class MappedFile:
    """A file mapped into memory. It stays the one that was opened, even if another file gets its name later.

    `content` is all of it, uint8 [bytes], read-only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._descriptor)
            if os.fstat(self._descriptor).st_size:
                self.content = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
            else:
                self.content = np.empty(0, dtype=np.uint8)  # which cannot be mapped

    def numbers(self, dtype: str, offset: int, count: int) -> np.ndarray:
        """`count` numbers from byte `offset` on, without a copy.

        The array is usually not aligned. Index it only: other functions of numpy (take, searchsorted) would copy it.
        """
        return self.content[offset : offset + count * np.dtype(dtype).itemsize].view(dtype)

    def sample(self, num_pieces: int, size: int) -> Iterator[bytes]:
        """Yields evenly spaced parts of `size` bytes, the first at the start and the last at the end of the file.

        Of a small file there are fewer. They are read from the file and not from the map, since the system would read
        megabytes around each.
        """
        starts = np.linspace(0, max(0, len(self.content) - size), num_pieces).astype(np.int64)
        for start in np.unique(starts).tolist():
            yield os.pread(self._descriptor, size, start)

    def check_size(self) -> None:
        """Raises ValueError if the file has shrunk since it was opened, as reading what is gone would end the process.

        It takes a microsecond for any size.
        """
        size = os.fstat(self._descriptor).st_size
        if size < len(self.content):
            raise ValueError(
                f"{self.path} has shrunk from {len(self.content):,} to {size:,} bytes while it was read; "
                "put the same data back and start again: a run continues from its last checkpoint"
            )
