"""Downloads databases of UniProt from its server or a mirror, resumes after a break, and checks every byte.

    python -m data_tools.download uniref50 --output raw

leaves raw/uniref50.fasta.gz and raw/uniref50.json. The latter says where the file is from, when it was fetched, which
release it is of, and its checksum. Size, checksum and release are taken from the RELEASE.metalink that UniProt puts
beside its files.
"""

import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from d2plm_megatron.console import progress, run
from d2plm_megatron.files import publish, write_text

Result = TypeVar("Result")

MIRROR = "https://ftp.uniprot.org/pub/databases/uniprot"
DATABASES = {
    "uniref50": "current_release/uniref/uniref50/uniref50.fasta.gz",
    "uniref90": "current_release/uniref/uniref90/uniref90.fasta.gz",
    "swissprot": "current_release/knowledgebase/complete/uniprot_sprot.fasta.gz",
}
_CHUNK_BYTES = 1 << 20
_MOST_METALINK_BYTES = 1 << 24
_TIMEOUT_S = 60
_TRIES = 8
_LONGEST_WAIT_S = 60
_DIGITS = {"sha256": 64, "md5": 32}
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Release:
    """What a server says about a file.

    Attributes:
        name: of the database's release.
        size_bytes: of the file.
        checksum: (algorithm, hexadecimal digits).
    """

    name: str
    size_bytes: int
    checksum: tuple[str, str]


def main(
    database: Annotated[str, typer.Argument(help=f"One of {', '.join(DATABASES)}.")],
    output: Annotated[Path, typer.Option(help="Folder to write to.", file_okay=False)] = Path("raw"),
    mirror: Annotated[str, typer.Option(help="URL of a mirror of UniProt's folder pub/databases/uniprot.")] = MIRROR,
) -> None:
    """Downloads a database of UniProt; a second call goes on where the first one stopped."""
    if database not in DATABASES:
        raise ValueError(f"{database}: not a database known here; expected {', '.join(DATABASES)}")
    check_mirror(mirror)
    path = download(f"{mirror.rstrip('/')}/{DATABASES[database]}", output)
    print(f"{path}: whole, {path.stat().st_size:,} bytes; {path.with_suffix('').with_suffix('.json')} says its release")


def check_mirror(mirror: str) -> None:
    """Raises ValueError if this is no http or https URL of a server."""
    try:
        parts = urllib.parse.urlsplit(mirror)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        is_one = False
    if not is_one or not re.fullmatch(r"[!-~]+", mirror):
        raise ValueError(f"--mirror {mirror}: expected an http or https URL")


def download(url: str, folder: Path) -> Path:
    """Fetches a file into a folder, checked against the RELEASE.metalink beside it; returns its path.

    Raises ValueError if the server lacks the file or describes it badly, if its bytes do not have the checksum, or
    after eight failures without a byte between them; OSError if the disk is too small.
    """
    name = url.rsplit("/", 1)[1]
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    release = _patiently(lambda: read_release(url.rsplit("/", 1)[0] + "/RELEASE.metalink", name), url)
    part = folder / f"{name}.{release.checksum[1][:16]}.part"
    if not path.exists():
        _check_disk(folder, release, part)
        _fetch(url, part, release)
    _check_sum(url, path if path.exists() else part, release, is_new=not path.exists())
    if not path.exists():
        publish([(part, path)])
    _record(path, url, release)
    return path


def read_release(url: str, name: str) -> Release:
    """What a RELEASE.metalink says of a file. Raises ValueError when it does not mention it with size and checksum."""
    with _open(url) as answer:
        text = answer.read(_MOST_METALINK_BYTES)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # these two of an encoding
        raise ValueError(f"{url}: not a metalink ({error})") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    file = next((file for file in root.iter("file") if file.get("name") == name), ElementTree.Element("file"))
    size = (file.findtext("size") or "").strip()
    sums = {s.get("type", "").replace("-", ""): (s.text or "").strip().lower() for s in file.iter("hash")}
    known = (name for name, digits in _DIGITS.items() if re.fullmatch(f"[0-9a-f]{{{digits}}}", sums.get(name, "")))
    algorithm = next(known, None)
    if not re.fullmatch("[0-9]{1,19}", size) or algorithm is None:
        raise ValueError(f"{url}: does not give size and checksum of {name}; is the mirror whole?")
    version = root.findtext("version") or root.findtext(".//version") or "unknown"
    return Release(version.strip(), int(size), (algorithm, sums[algorithm]))


def _fetch(url: str, part: Path, release: Release) -> None:
    """Appends to `part` until it is complete, even if the connection breaks on the way."""
    with progress(f"fetching {release.name}", total=release.size_bytes, unit="bytes") as advance:
        advance(part.stat().st_size if part.exists() else 0)
        _patiently(lambda: _fetch_rest(url, part, release.size_bytes, advance), url, lambda: _size(part))


def _fetch_rest(url: str, part: Path, size: int, advance: Callable[[int], None]) -> None:
    have = _size(part)
    if have >= size:
        return
    with _open(url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status == http.client.PARTIAL_CONTENT:
            _check_range(url, answer.headers.get("Content-Range", ""), have, size)
        elif have:  # the server knows no ranges and begins again
            advance(-have)
            have = 0
        if answer.length is not None and have + answer.length != size:
            raise _other_size(url, size, f"{have + answer.length:,}")
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(min(_CHUNK_BYTES, size - have + 1)):
                have += len(chunk)
                if have > size:
                    part.unlink()
                    raise _other_size(url, size, "more")
                file.write(chunk)
                advance(len(chunk))
    if have < size:
        raise ConnectionError(f"{url}: the connection ended early")


def _check_range(url: str, answered: str, start: int, size: int) -> None:
    """Raises ValueError if a Content-Range does not begin at byte `start` of a file of `size` bytes."""
    found = re.fullmatch(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)", answered.strip())
    if not found or int(found[1]) != start or int(found[2]) >= size or found[3] not in (str(size), "*"):
        raise ValueError(
            f"{url}: was asked for the bytes from {start:,} on, of {size:,}, and answers with {answered[:60]!r}; "
            "give another --mirror"
        )


def _other_size(url: str, size: int, found: str) -> ValueError:
    return ValueError(
        f"{url}: has {found} bytes, and {size:,} by the RELEASE.metalink beside it; perhaps it is being replaced: try "
        "later, or another --mirror"
    )


def _patiently(attempt: Callable[[], Result], url: str, progress_of: Callable[[], int] = lambda: 0) -> Result:
    """The result of `attempt`, tried again when the connection breaks. Eight failures without progress end it."""
    failures, before = 0, progress_of()
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ValueError(f"{error.url}: {error.code} {error.reason}; is the mirror's address right?") from None
            reason: Exception = error
        except _BROKEN as error:
            reason = error
        failures = 1 if progress_of() > before else failures + 1
        before = progress_of()
        if failures == _TRIES:
            raise ValueError(f"{url}: {_TRIES} failures in a row ({reason}); the same command goes on later")
        time.sleep(min(_LONGEST_WAIT_S, 2**failures))


def _open(url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "d2plm-megatron", **(headers or {})})
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    return answer


def _check_disk(folder: Path, release: Release, part: Path) -> None:
    needed, free = release.size_bytes - _size(part), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{folder}: {needed / 1e9:,.2f} GB are needed, {free / 1e9:,.2f} GB are free")


def _check_sum(url: str, path: Path, release: Release, is_new: bool) -> None:
    algorithm, expected = release.checksum
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found == expected and path.stat().st_size == release.size_bytes:
        return
    if is_new:
        path.unlink()
        raise ValueError(f"{url}: {algorithm} is {found}, but should be {expected}; removed, fetch it again")
    raise ValueError(
        f"{path}: is not release {release.name} ({algorithm} {found}, not {expected}); an older release, or damaged: "
        "move it away to fetch the new one"
    )


def _record(path: Path, url: str, release: Release) -> None:
    algorithm, digits = release.checksum
    record = {"url": url, "release": release.name, "bytes": release.size_bytes, algorithm: digits}
    note = path.with_suffix("").with_suffix(".json")
    if not note.exists() or digits.encode() not in note.read_bytes():  # none, or that of an older release
        record["fetched"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(note, json.dumps(record, indent=2) + "\n")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    run(main)
