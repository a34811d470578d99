"""The first records of a compressed FASTA file on a server, streamed: no more of it is fetched than they take."""

import gzip
import hashlib
import http.client
import io
import json
import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from d2plm_megatron.console import progress
from d2plm_megatron.files import atomic, write_text

from .server import BROKEN, CHUNK_BYTES, opened_at, patiently, release_of

_COMPRESSION = 6
_AT_ONCE = 1 << 16
UNCHECKED = "a part: the checksum that UniProt gives is of the whole file, and cannot be checked on it"


class _Body(io.RawIOBase):
    """The bytes of a file of this size on a server, from the first on, over as many connections as it takes."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._have = url, size, 0
        self._answer: http.client.HTTPResponse | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fills the buffer with what comes next, and returns how much. Raises ValueError after eight failures."""
        data = patiently(lambda: self._read(min(len(buffer), self._size - self._have)), self._url)
        buffer[: len(data)] = data
        self._have += len(data)
        return len(data)

    def close(self) -> None:
        """Hangs up."""
        if self._answer:
            self._answer.close()
        self._answer = None
        super().close()

    def _read(self, most: int) -> bytes:
        if not most:
            return b""
        try:
            self._answer = self._answer or self._begun()
            return _some(self._answer, most, self._url)
        except BROKEN:
            self._answer = None
            raise

    def _begun(self) -> http.client.HTTPResponse:
        answer, place = opened_at(self._url, self._have, self._size)
        while place < self._have:  # the server knows no ranges and begins again
            place += len(_some(answer, min(CHUNK_BYTES, self._have - place), self._url))
        return answer


def fetch_first(url: str, folder: Path, number: int) -> Path:
    """Writes the first records of a .fasta.gz on a server to NAME.firstN.fasta.gz, and a note beside it.

    Returns its path. A file has fewer records only if the server's has. A part that was broken off leaves nothing, and
    a file that is there already and as it was fetched is left as it is.

    Raises ValueError if the server lacks the file or describes it badly, if it is no compressed FASTA file, after eight
    failures without a byte between them, or if the file that is there is not the one in the note beside it.
    """
    path = folder / f"{url.rsplit('/', 1)[1].removesuffix('.fasta.gz')}.first{number}.fasta.gz"
    note = path.with_suffix("").with_suffix(".json")
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _check(path, note)
        return path
    release = release_of(url)
    with atomic(path) as (temporary,):
        with temporary.open("wb") as file:
            found = _copy(url, release.size_bytes, file, number)
        about = {"url": url, "release": release.name, "records": found, "checked": UNCHECKED}
        about |= {"bytes": temporary.stat().st_size, "sha256": _sha256(temporary)}
        about["fetched"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(note, json.dumps(about, indent=2) + "\n")
    return path


def _copy(url: str, size: int, target: io.BufferedWriter, number: int) -> int:
    """Copies so many records, compressed anew, and returns how many there were."""
    begins, found = True, 0
    with (
        progress(f"fetching {number:,} records", total=number, unit="records") as advance,
        closing(_Body(url, size)) as body,
        gzip.GzipFile(fileobj=io.BufferedReader(body, _AT_ONCE)) as source,  # type: ignore[type-var]
        gzip.GzipFile("", "wb", _COMPRESSION, target, mtime=0) as packed,
    ):
        try:
            while line := source.readline(CHUNK_BYTES):
                if begins and line.startswith(b">"):
                    if found == number:
                        break
                    found += 1
                    advance(1)
                if not found:
                    raise ValueError(f"{url}: does not begin with a record of FASTA")
                packed.write(line)
                begins = line.endswith(b"\n")
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{url}: no whole file of gzip ({error}); try later, or another --mirror") from None
    return found


def _some(answer: http.client.HTTPResponse, most: int, url: str) -> bytes:
    """What comes next in an answer, one byte at least. Raises ConnectionError if it has ended."""
    data = answer.read(most)
    if not data:
        raise ConnectionError(f"{url}: the connection ended early")
    return data


def _check(path: Path, note: Path) -> None:
    """Raises ValueError unless the note beside a file has its checksum."""
    if not note.is_file() or _sha256(path).encode() not in note.read_bytes():
        raise ValueError(f"{path}: not as it was fetched, by {note.name} beside it; move it away to fetch it anew")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
