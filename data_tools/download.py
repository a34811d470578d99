"""Downloads databases of UniProt from its server or a mirror, resumes after a break, and checks every byte.

    d2plm download uniref50 --output raw

leaves raw/uniref50.fasta.gz and raw/uniref50.json. The latter says where the file is from, when it was fetched, which
release it is of, and its checksum. With --first 100000 only so many records are fetched, which no checksum of UniProt's
is there for: raw/uniref50.first100000.fasta.gz.
"""

import hashlib
import json
import re
import shutil
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.console import progress, run
from d2plm_megatron.files import publish, write_text

from .first_records import fetch_first
from .server import CHUNK_BYTES, Release, opened_at, other_size, patiently, release_of

MIRROR = "https://ftp.uniprot.org/pub/databases/uniprot"
DATABASES = {
    "uniref50": "current_release/uniref/uniref50/uniref50.fasta.gz",
    "uniref90": "current_release/uniref/uniref90/uniref90.fasta.gz",
    "swissprot": "current_release/knowledgebase/complete/uniprot_sprot.fasta.gz",
}

First = Annotated[
    int | None,
    typer.Option(help="Fetch so many records, the first of the file, and no more; they are begun anew after a break."),
]


def main(
    database: Annotated[str, typer.Argument(help=f"One of {', '.join(DATABASES)}.")],
    output: Annotated[Path, typer.Option(help="Folder to write to.", file_okay=False)] = Path("raw"),
    mirror: Annotated[str, typer.Option(help="URL of a mirror of UniProt's folder pub/databases/uniprot.")] = MIRROR,
    first: First = None,
) -> None:
    """Downloads a database of UniProt, or its first records; a second call goes on where the first one stopped."""
    if database not in DATABASES:
        raise ValueError(f"{database}: not a database known here; expected {', '.join(DATABASES)}")
    check_mirror(mirror)
    if first is not None and first < 1:
        raise ValueError(f"--first {first}: expected 1 or more records")
    url = f"{mirror.rstrip('/')}/{DATABASES[database]}"
    path = download(url, output) if first is None else fetch_first(url, output, first)
    whole = "whole" if first is None else "the first records, without a checksum of UniProt's"
    note = path.with_suffix("").with_suffix(".json")
    print(f"{path}: {whole}, {path.stat().st_size:,} bytes; {note} says its release")


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
    release = release_of(url)
    part = folder / f"{name}.{release.checksum[1][:16]}.part"
    if not path.exists():
        _check_disk(folder, release, part)
        _fetch(url, part, release)
    _check_sum(url, path if path.exists() else part, release, is_new=not path.exists())
    if not path.exists():
        publish([(part, path)])
    _record(path, url, release)
    return path


def _fetch(url: str, part: Path, release: Release) -> None:
    """Appends to `part` until it is complete, even if the connection breaks on the way."""
    with progress(f"fetching {release.name}", total=release.size_bytes, unit="bytes") as advance:
        advance(part.stat().st_size if part.exists() else 0)
        patiently(lambda: _fetch_rest(url, part, release.size_bytes, advance), url, lambda: _size(part))


def _fetch_rest(url: str, part: Path, size: int, advance: Callable[[int], None]) -> None:
    have = _size(part)
    if have >= size:
        return
    answer, begins = opened_at(url, have, size)
    with answer:
        if begins != have:  # the server knows no ranges and begins again
            advance(-have)
            have = 0
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(min(CHUNK_BYTES, size - have + 1)):
                have += len(chunk)
                if have > size:
                    part.unlink()
                    raise other_size(url, size, "more")
                file.write(chunk)
                advance(len(chunk))
    if have < size:
        raise ConnectionError(f"{url}: the connection ended early")


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
