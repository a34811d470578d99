"""Files as they were before gzip or Zstandard, told by their first bytes and not by their names alone."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple


class _Format(NamedTuple):
    name: str
    ending: str
    magic: bytes


_FORMATS = (_Format("gzip", ".gz", b"\x1f\x8b"), _Format("zstd", ".zst", b"\x28\xb5\x2f\xfd"))


class Plain(NamedTuple):
    """A file opened: `read(size)` gives about so many bytes of its content, b"" at the end; `file` is it on disk."""

    read: Callable[[int], bytes]
    file: BufferedReader


@contextmanager
def open_plain(path: Path) -> Iterator[Plain]:
    """Opens a file for reading, decompressing .gz and .zst.

    Raises ValueError when the name and the first bytes disagree, ModuleNotFoundError without the package for .zst.
    `read` raises ValueError when the compressed data are damaged or cut off.
    """
    with path.open("rb") as file:
        head = file.peek(4)[:4]
        found = next((known for known in _FORMATS if head.startswith(known.magic)), None)
        named = next((known for known in _FORMATS if path.suffix == known.ending), None)
        if found and found != named:
            raise ValueError(
                f"{path}: compressed by {found.name}, but not named so; rename it to {path.name}{found.ending}"
            )
        if head and named and not found:
            raise ValueError(f"{path}: named {named.ending}, but not compressed by {named.name}")
        if found is None:
            yield Plain(file.read, file)
        else:
            read = gzip.GzipFile(fileobj=file).read if found.name == "gzip" else _Zstd(file, path).read
            yield Plain(_naming_damage(read, found.name, path, file), file)


def _naming_damage(read: Callable[[int], bytes], name: str, path: Path, file: BufferedReader) -> Callable[[int], bytes]:
    def checked(size: int) -> bytes:
        try:
            return read(size)
        except Exception as error:
            # zstandard's own error can be named only where that package is installed
            if not isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) and type(error).__name__ != "ZstdError":
                raise
            where = f"before byte {file.tell():,}"
            raise ValueError(f"{path}: {name} data damaged {where} ({error}); fetch it again") from None

    return checked


class _Zstd:
    """A zstd stream, frame after frame; zstandard's own reader would take a file cut off for one that ends there."""

    def __init__(self, file: BufferedReader, path: Path) -> None:
        try:
            import zstandard
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path}: .zst needs the package zstandard: pip install zstandard") from None
        self._file = file
        self._new_frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj
        self._frame = self._new_frame()
        self._packed = b""

    def read(self, size: int) -> bytes:
        """The next bytes, about `size`; b"" at the end. Raises EOFError when the last frame is not whole."""
        while True:
            self._packed = self._packed or self._file.read(max(1, size // 8))
            if not self._packed:
                return b""
            plain: bytes = self._frame.decompress(self._packed)
            self._packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = self._new_frame()
            elif not self._file.peek(1):
                raise EOFError("zstd frame ended too early")
            if plain:
                return plain
