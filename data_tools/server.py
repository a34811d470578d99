"""What servers of UniProt's files say and send: the release that a file is of, its size, and its bytes from any place.

Size, checksum and release are taken from the RELEASE.metalink that UniProt puts beside its files.
"""

import http.client
import re
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")

CHUNK_BYTES = 1 << 20
_MOST_METALINK_BYTES = 1 << 24
_TIMEOUT_S = 60
_TRIES = 8
_LONGEST_WAIT_S = 60
_DIGITS = {"sha256": 64, "md5": 32}
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
"""What a broken connection raises."""


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


def release_of(url: str) -> Release:
    """What the RELEASE.metalink beside a file on a server says of it, patiently. Raises what `read_release` raises."""
    folder, name = url.rsplit("/", 1)
    return patiently(lambda: read_release(f"{folder}/RELEASE.metalink", name), url)


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


def opened_at(url: str, have: int, size: int) -> tuple[http.client.HTTPResponse, int]:
    """A file of `size` bytes on a server from byte `have` on, or from 0 if the server knows no ranges, and that byte.

    Raises ValueError when the answer does not fit the size.
    """
    answer = _open(url, {"Range": f"bytes={have}-"} if have else {})
    try:
        if answer.status == http.client.PARTIAL_CONTENT:
            _check_range(url, answer.headers.get("Content-Range", ""), have, size)
        else:
            have = 0
        if answer.length is not None and have + answer.length != size:
            raise other_size(url, size, f"{have + answer.length:,}")
    except ValueError:
        answer.close()
        raise
    return answer, have


def patiently(attempt: Callable[[], Result], url: str, progress_of: Callable[[], int] = lambda: 0) -> Result:
    """The result of `attempt`, tried again when the connection breaks. Eight failures without progress end it."""
    failures, before = 0, progress_of()
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ValueError(f"{error.url}: {error.code} {error.reason}; is the mirror's address right?") from None
            reason: Exception = error
        except BROKEN as error:
            reason = error
        failures = 1 if progress_of() > before else failures + 1
        before = progress_of()
        if failures == _TRIES:
            raise ValueError(f"{url}: {_TRIES} failures in a row ({reason}); the same command goes on later")
        time.sleep(min(_LONGEST_WAIT_S, 2**failures))


def other_size(url: str, size: int, found: str) -> ValueError:
    """The error of a file that is not as large as the metalink says."""
    return ValueError(
        f"{url}: has {found} bytes, and {size:,} by the RELEASE.metalink beside it; perhaps it is being replaced: try "
        "later, or another --mirror"
    )


def _check_range(url: str, answered: str, start: int, size: int) -> None:
    """Raises ValueError if a Content-Range does not begin at byte `start` of a file of `size` bytes."""
    found = re.fullmatch(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)", answered.strip())
    if not found or int(found[1]) != start or int(found[2]) >= size or found[3] not in (str(size), "*"):
        raise ValueError(
            f"{url}: was asked for the bytes from {start:,} on, of {size:,}, and answers with {answered[:60]!r}; "
            "give another --mirror"
        )


def _open(url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "d2plm-megatron", **(headers or {})})
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    return answer
