"""Attacks on the download: a mirror on this machine that lies about sizes, checksums, ranges and files."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from data_tools import download
from verification.fuzzing.attack import Attack, Reading, Valid
from verification.fuzzing.damage import changed
from verification.fuzzing.subjects import command

NAME, OUTPUT, MIRROR = "uniprot_sprot.fasta.gz", "raw", "mirror.json"
CONTENT = gzip.compress(b">a\nMKT\n" * 3_000, compresslevel=0, mtime=0)
_DIGEST = hashlib.md5(CONTENT).hexdigest()
_METALINK = (
    '<?xml version="1.0"?><metalink xmlns="http://www.metalinker.org/"><version>{version}</version><files>'
    '<file name="{name}"><size>{size}</size><verification><hash type="{kind}">{digest}</hash></verification></file>'
    "</files></metalink>"
)
TRUE = {"version": "2026_01", "name": NAME, "size": len(CONTENT), "kind": "md5", "digest": _DIGEST}
_ENDLESS, _PIECE = 1 << 26, 1 << 16
_MOST_TAKEN = 1 << 24  # what fits into the buffers of the connection, too
_LIES: dict[str, tuple[object, ...]] = {
    "version": ("../../x", "", "\x1b[31m", "x" * 10_000, "&lt;b&gt;", "&#10;error: x"),
    "name": ("other.gz", "../x", ""),
    "size": (0, 1, len(CONTENT) - 1, len(CONTENT) + 1, 10**30, -1, "1e3", "٣", "²", "9" * 5_000, ""),
    "kind": ("sha-256", "sha1", "", "MD5"),
    "digest": (
        "../../outside/x",
        "/etc/x",
        "",
        "0" * 32,
        _DIGEST.upper(),
        "x" * 5_000,
        "\x7f",
        _DIGEST[:16] + "/" * 16,
    ),
}
_BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{}]><a>&j;</a>'.format(
    "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
)
_DOCUMENTS = (_BOMB, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>', "<a>" * 20_000, "", "<a/>")


def make(folder: Path) -> None:
    """What an honest mirror says, and the start of a file whose download was cut off."""
    says = {"metalink": _METALINK.format(**TRUE), "content": CONTENT.hex(), "answers": []}
    (folder / MIRROR).write_text(json.dumps(says), encoding="utf-8")
    (folder / OUTPUT).mkdir()


def downloaded(folder: Path) -> Any:
    """The checksum of the file that a download leaves under its final name.

    Raises AssertionError when it has taken much more than the size that the mirror gave.
    """
    mirror = _serving(json.loads((folder / MIRROR).read_text(encoding="utf-8")))
    try:
        with mirror as address, patch("time.sleep"):
            command(download.main, "swissprot", "--output", folder / OUTPUT, "--mirror", address)
    finally:
        if mirror.most_sent > _MOST_TAKEN:
            raise AssertionError(f"took {mirror.most_sent:,} bytes of a file of {len(CONTENT):,}")
    return hashlib.md5((folder / OUTPUT / NAME).read_bytes()).hexdigest()


class _serving(ThreadingHTTPServer):
    """A mirror that says what it is told to; a context manager that gives its address."""

    def __init__(self, says: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.answers = says, list(says["answers"])
        self.daemon_threads, self.most_sent = True, 0

    def __enter__(self) -> str:  # type: ignore[override]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Nothing: the client has gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _serving

    def do_GET(self) -> None:
        """Answers honestly, or as the next of the prepared answers says."""
        if self.path.endswith("metalink"):
            self._answer(200, self.server.says["metalink"].encode("utf-8", "replace"), {})
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        honest = {"status": 206 if start else 200, "from": start, "length": None, "stop": None, "range": None}
        answer = {**honest, **(self.server.answers.pop(0) if self.server.answers else {})}
        body = bytes.fromhex(self.server.says["content"])
        body = (body * (_ENDLESS // max(1, len(body))) if answer["stop"] == -1 else body)[answer["from"] :]
        headers = {"Content-Range": answer["range"] or f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self._answer(answer["status"], body, headers, answer["length"], answer["stop"])

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str], length: int | None = None, stop: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body) if length is None else length)}.items():
            self.send_header(name, value)
        if status in (301, 302):
            self.send_header("Location", "file:///etc/hostname")
        self.end_headers()
        body = body[: stop if stop is None or stop >= 0 else None]
        for start in range(0, len(body), _PIECE):
            self.wfile.write(body[start : start + _PIECE])
            self.server.most_sent = max(self.server.most_sent, start)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _tamper(folder: Path, chance: Random) -> None:
    says = json.loads((folder / MIRROR).read_text(encoding="utf-8"))
    match chance.choice(("metalink", "document", "content", "answers", "answers", "left")):
        case "metalink":
            key = chance.choice(sorted(_LIES))
            says["metalink"] = _METALINK.format(**{**TRUE, key: chance.choice(_LIES[key])})
        case "document":
            document = changed(says["metalink"].encode(), chance).decode("utf-8", "replace")
            says["metalink"] = chance.choice((document, *_DOCUMENTS))
        case "content":
            says["content"] = changed(CONTENT, chance).hex()
        case "answers":
            says["answers"] = [_lie(chance) for _ in range(chance.randrange(1, 12))]
        case "left":
            left = folder / OUTPUT / chance.choice((f"{NAME}.{_DIGEST[:16]}.part", NAME))
            left.write_bytes(changed(CONTENT[:5_000], chance))
    (folder / MIRROR).write_text(json.dumps(says), encoding="utf-8")


def _lie(chance: Random) -> dict[str, Any]:
    """An answer to one request that is not honest."""
    return chance.choice(
        (
            {"stop": chance.randrange(len(CONTENT))},
            {"stop": -1},
            {"status": 206, "from": chance.randrange(len(CONTENT))},
            {"status": chance.choice((204, 301, 302, 404, 416, 418, 500, 503))},
            {"length": chance.choice((0, 10**15, len(CONTENT) + 1, 10))},
            {"range": chance.choice(("bytes 5-9/10", "x", "bytes */0"))},
        )
    )


def is_the_file(valid: Valid, reading: Reading) -> str | None:
    """The file is whole, and nothing of what the mirror sent too much lies beside it."""
    size = sum(path.stat().st_size for path in (reading.folder / OUTPUT).iterdir())
    if size > 2 * len(CONTENT):
        return f"kept {size:,} bytes"
    return None if reading.found == valid.found else f"kept a file with another checksum, {reading.found}"


ATTACKS = (Attack("lying-mirror", make, _tamper, (downloaded,), is_the_file),)
