"""Reads plain and compressed files alike, told by their first bytes, and text with whatever line ends."""

import bz2
import errno
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

Read = Callable[[int], bytes]

LONGEST_LINE_BYTES = 1 << 26
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_MEMORY = 1 << 27
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_PIECE_BYTES = 1 << 18
_HEAD_BYTES = 1 << 12


class Plain(NamedTuple):
    """A file opened: `read(size)` gives about so many bytes of its content, b"" at the end.

    `file` is it on disk; `name` that of the content, without the ending of the compression; `head`, of text, how it
    begins.
    """

    read: Read
    file: BufferedReader
    name: str
    head: bytes = b""


class _Format(NamedTuple):
    name: str
    ending: str
    magic: bytes
    open: Callable[[BufferedReader, Path], tuple[Read, str]]


@contextmanager
def open_plain(path: Path) -> Iterator[Plain]:
    """Opens a file for reading, decompressing .gz, .zst, .bz2, .xz, and .zip with one file in it.

    Raises ValueError when the name and the first bytes disagree, ModuleNotFoundError without the package for .zst.
    `read` raises ValueError when the compressed data are damaged or cut off.
    """
    with path.open("rb") as file:
        head = file.peek(8)[:8]
        found = next((known for known in _FORMATS if head.startswith(known.magic)), None)
        named = next((known for known in _FORMATS if path.suffix.lower() == known.ending), None)
        if found and found != named:
            raise ValueError(
                f"{path}: compressed by {found.name}, but not named so; rename it to {path.name}{found.ending} (of a "
                "workbook save the sheet as .csv)"
            )
        if head and named and not found:
            raise ValueError(f"{path}: named {named.ending}, but not compressed by {named.name}")
        if found is None:
            yield Plain(file.read, file, path.name)
        else:
            read, name = found.open(file, path)
            yield Plain(_naming_damage(read, found.name, path, file), file, name)


@contextmanager
def open_text(path: Path) -> Iterator[Plain]:
    r"""Like open_plain, of text: line ends are \n, whether they were \n, \r\n or \r, and there is no byte order mark.

    Raises ValueError for text in UTF-16, too.
    """
    with open_plain(path) as plain:
        head = plain.read(_HEAD_BYTES)
        while 0 < len(head) < len(_BYTE_ORDER_MARK) and (more := plain.read(_HEAD_BYTES)):
            head += more
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError(f"{path}: text in UTF-16, as some editors save it; save it as UTF-8")
        head = head.removeprefix(_BYTE_ORDER_MARK)
        yield plain._replace(read=_Lines(plain.read, head).read, head=head)


def lines(plain: Plain, path: Path) -> Iterator[str]:
    """The lines of a text opened by open_text, without their ends.

    Raises ValueError naming the line that is no UTF-8, or longer than 64 MiB.
    """
    number, waiting = 0, bytearray()
    while piece := plain.read(_PIECE_BYTES):
        first, *others = piece.split(b"\n")
        waiting += first
        for other in others:
            number += 1
            yield _decoded(waiting, path, number)
            waiting = bytearray(other)
        if len(waiting) > LONGEST_LINE_BYTES:
            raise ValueError(f"{path}, line {number + 1}: longer than 64 MiB; is this a text file?")
    if waiting:
        yield _decoded(waiting, path, number + 1)


def _decoded(line: bytearray, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}, line {number}: not text in UTF-8") from None


class _Lines:
    """Text with one kind of line end."""

    def __init__(self, read: Read, head: bytes) -> None:
        self._read, self._head = read, head
        self._held = b""

    def read(self, size: int) -> bytes:
        """The next bytes, about `size`; b"" at the end."""
        while data := self._head or self._read(size):
            self._head = b""
            data = self._held + data
            self._held = b"\r" if data.endswith(b"\r") else b""  # \n may follow
            if text := _with_one_end(data[: len(data) - len(self._held)]):
                return text
        held, self._held = self._held, b""
        return _with_one_end(held)


def _with_one_end(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _naming_damage(read: Read, name: str, path: Path, file: BufferedReader) -> Read:
    def checked(size: int) -> bytes:
        try:
            return read(size)
        except Exception as error:
            # zstandard's own error can be named only where that package is installed; those of bz2 and zip are OSErrors
            named = isinstance(error, _DAMAGE) or type(error).__name__ == "ZstdError"
            if not named and not (isinstance(error, OSError) and error.errno in (None, errno.EINVAL)):
                raise
            where = f"before byte {file.tell():,}"
            raise ValueError(f"{path}: {name} data damaged {where} ({error}); fetch it again") from None

    return checked


class _Frames:
    """A stream of frames, one after the other, each read by a decompressor of its own."""

    def __init__(self, file: BufferedReader, new_frame: Callable[[], Any]) -> None:
        self._file = file
        self._new_frame = new_frame
        self._frame = new_frame()
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
                raise EOFError("it ends too early")
            if plain:
                return plain


def _open_gzip(file: BufferedReader, path: Path) -> tuple[Read, str]:
    return gzip.GzipFile(fileobj=file).read, path.stem


def _open_bz2(file: BufferedReader, path: Path) -> tuple[Read, str]:
    return _Frames(file, bz2.BZ2Decompressor).read, path.stem


def _open_xz(file: BufferedReader, path: Path) -> tuple[Read, str]:
    return _Frames(file, lambda: lzma.LZMADecompressor(memlimit=_MOST_MEMORY)).read, path.stem


def _open_zstd(file: BufferedReader, path: Path) -> tuple[Read, str]:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{path}: .zst needs the package zstandard: pip install zstandard") from None
    # not zstandard's own reader, which would take a file cut off for one that ends there
    return _Frames(file, zstandard.ZstdDecompressor(max_window_size=_MOST_MEMORY).decompressobj).read, path.stem


def _open_zip(file: BufferedReader, path: Path) -> tuple[Read, str]:
    try:
        archive = zipfile.ZipFile(file)
        found = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
        opened = archive.open(found[0]) if len(found) == 1 else None
    except (*_DAMAGE, RuntimeError, OSError, ValueError, struct.error) as error:  # encrypted, or damaged in any way
        raise ValueError(f"{path}: cannot be unpacked here ({error}); unpack it, and give the file") from None
    if opened is None:
        raise ValueError(f"{path}: a zip of {len(found):,} files; unpack it, and give the folder or the files")
    return opened.read, Path(found[0].filename).name


_FORMATS = (
    _Format("gzip", ".gz", b"\x1f\x8b", _open_gzip),
    _Format("zstd", ".zst", b"\x28\xb5\x2f\xfd", _open_zstd),
    _Format("bzip2", ".bz2", b"BZh", _open_bz2),
    _Format("xz", ".xz", b"\xfd7zXZ\x00", _open_xz),
    _Format("zip", ".zip", b"PK\x03\x04", _open_zip),
)
ENDINGS = tuple(known.ending for known in _FORMATS)
"""Of compressed files."""
