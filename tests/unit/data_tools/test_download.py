import gzip
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_tools import server as server_side
from data_tools.download import DATABASES, main

NAME = "uniprot_sprot.fasta.gz"
CONTENT = gzip.compress(b">a\nMKT\n" * 40_000, compresslevel=0, mtime=0)


class Server(ThreadingHTTPServer):
    """UniProt's folder of Swiss-Prot.

    breaks         after how many bytes the next connections for the file end; then they hold
    knows_ranges   answers a Range with that range, else with everything
    metalink       what RELEASE.metalink says
    content_range  what is said of a range, of its first byte
    length         what is said of the length of the file, "" for nothing; None for the truth
    body           what the file has from a byte on
    ranges         the Range of each request for the file
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: deque[int] = deque()
        self.knows_ranges = True
        self.metalink = metalink(len(CONTENT), hashlib.md5(CONTENT).hexdigest())
        self.content_range = lambda start: f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.length: str | None = None
        self.body: Callable[[int], bytes] = lambda start: CONTENT[start:]
        self.ranges: list[str | None] = []

    @property
    def mirror(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/pub"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if self.path == f"/pub/{DATABASES['swissprot'].rpartition('/')[0]}/RELEASE.metalink":
            self._answer(200, server.metalink.encode(), {})
        elif self.path == f"/pub/{DATABASES['swissprot']}":
            server.ranges.append(self.headers.get("Range"))
            start = int((server.ranges[-1] or "bytes=0-")[6:-1]) if server.knows_ranges else 0
            broken = server.breaks.popleft() if server.breaks else None
            headers = {"Content-Length": server.length, "Content-Range": start and server.content_range(start)}
            self._answer(206 if start else 200, server.body(start), headers, broken)
        else:
            self.send_error(404)

    def _answer(self, status: int, body: bytes, headers: dict[str, object], broken: int | None = None) -> None:
        self.send_response(status)
        if headers.get("Content-Length") is None:
            headers["Content-Length"] = len(body)
        for name, value in headers.items():
            if value:
                self.send_header(name, str(value))
        self.end_headers()
        with suppress(ConnectionError):  # who hears nonsense hangs up
            self.wfile.write(body[:broken])

    def log_message(self, *_: object) -> None:
        pass


def metalink(size: int, md5: str, name: str = NAME) -> str:
    return (
        '<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/"><version>2026_01</version>'
        f'<files><file name="{name}"><size>{size}</size><verification><hash type="md5">{md5}</hash></verification>'
        "</file></files></metalink>"
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_side.time, "sleep", lambda seconds: None)


def arguments(server: Server, folder: Path) -> tuple[object, ...]:
    return main, "swissprot", "--output", folder, "--mirror", server.mirror


def test_fetches_checks_and_records(command, tmp_path, server):
    code, out, err = command(*arguments(server, tmp_path))
    assert (code, err) == (0, "") and "whole" in out
    assert (tmp_path / NAME).read_bytes() == CONTENT
    record = json.loads((tmp_path / "uniprot_sprot.json").read_text())
    assert record["release"] == "2026_01" and record["md5"] == hashlib.md5(CONTENT).hexdigest()
    assert record["url"].startswith(server.mirror)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "uniprot_sprot.json"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_goes_on_after_broken_connections(command, tmp_path, server, knows_ranges):
    server.knows_ranges = knows_ranges
    server.breaks.extend([1000, 70_000, 0])
    assert command(*arguments(server, tmp_path))[0] == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT
    if knows_ranges:
        assert server.ranges == [None, "bytes=1000-", "bytes=71000-", "bytes=71000-"]


def test_a_later_call_goes_on_where_the_first_gave_up(command, tmp_path, server):
    server.breaks.extend([50_000] + [0] * 20)
    code, _, err = command(*arguments(server, tmp_path))
    assert code == 2 and "failures in a row" in err and "goes on later" in err
    assert [path.stat().st_size for path in tmp_path.glob("*.part")] == [50_000]
    server.breaks.clear()
    server.ranges.clear()
    assert command(*arguments(server, tmp_path))[0] == 0
    assert server.ranges == ["bytes=50000-"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(refused, tmp_path, server):
    server.metalink = metalink(len(CONTENT), "0" * 32)
    assert "should be 00000000" in refused(*arguments(server, tmp_path))


def test_a_file_of_an_older_release_is_kept_and_named(command, tmp_path, server):
    (tmp_path / NAME).write_bytes(b"older")
    code, _, err = command(*arguments(server, tmp_path))
    assert code == 2 and "is not release 2026_01" in err
    assert (tmp_path / NAME).read_bytes() == b"older" and server.ranges == []


def test_a_whole_file_is_not_fetched_again(command, tmp_path, server):
    (tmp_path / NAME).write_bytes(CONTENT)
    assert command(*arguments(server, tmp_path))[0] == 0
    assert server.ranges == []


def test_the_note_is_of_the_file_beside_it(command, tmp_path, server):
    note = tmp_path / "uniprot_sprot.json"
    note.write_text(json.dumps({"release": "2025_04", "md5": "0" * 32}))
    assert command(*arguments(server, tmp_path))[0] == 0
    first = note.read_text()
    assert json.loads(first)["release"] == "2026_01" and json.loads(first)["md5"] == hashlib.md5(CONTENT).hexdigest()
    assert command(*arguments(server, tmp_path))[0] == 0
    assert note.read_text() == first


def test_the_disk_is_checked_first(refused, tmp_path, server):
    server.metalink = metalink(10**18, "0" * 32)
    assert "1,000,000,000.00 GB are needed" in refused(*arguments(server, tmp_path))
    assert server.ranges == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "not a metalink"),
        (metalink(1, "0", name="other.gz"), "does not give size and checksum"),
        (metalink(1, ""), "does not give size and checksum"),
        (metalink(1, "../../../../x" + "0" * 19), "does not give size and checksum"),
        (metalink(1, "0" * 33), "does not give size and checksum"),
        (metalink(10**40, "0" * 32), "does not give size and checksum"),
        (metalink(1, "0" * 32).replace("<size>1", "<size>\u00b2"), "does not give size and checksum"),
        (metalink(1, "0" * 32).replace('"1.0"', '"1.0" encoding="foo"'), "not a metalink (unknown encoding"),
        (metalink(1, "0" * 32).replace('"1.0"', '"1.0" encoding="big5"'), "not a metalink (multi-byte"),
    ],
)
def test_refuses_bad_metalinks(refused, tmp_path, server, text, message):
    server.metalink = text
    assert message in refused(*arguments(server, tmp_path))


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"content_range": lambda start: ""}, "was asked for the bytes from 50,000 on, of 280,"),
        ({"content_range": lambda start: "bytes 0-9/10"}, "and answers with 'bytes 0-9/10'; give another --mirror"),
        ({"content_range": lambda start: f"bytes {start}-{start + 10**9}/*"}, "and answers with 'bytes 50000-"),
        ({"content_range": lambda start: f"bytes {start}-{'9' * 9999}/*"}, "and answers with 'bytes 50000-"),
        ({"length": "17"}, "has 50,017 bytes, and 280,"),
        ({"length": "9" * 30}, "bytes, and 280,"),
        ({"length": "", "body": lambda start: bytes(10**6)}, "has more bytes, and 280,"),
        ({"body": lambda start: bytes(len(CONTENT) - start)}, "but should be"),
    ],
)
def test_a_server_that_lies_is_refused(command, tmp_path, server, lie, message):
    server.breaks.extend([50_000] + [0] * 20)
    assert command(*arguments(server, tmp_path))[0] == 2
    server.breaks.clear()
    for name, value in lie.items():
        setattr(server, name, value)
    code, _, err = command(*arguments(server, tmp_path))
    assert code == 2 and message in err and err.count("\n") == 1 and len(err) < 600
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) in (0, 50_000)


PART = "uniprot_sprot.first30000.fasta.gz"


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_the_first_records_come_over_broken_connections_and_nothing_after_them(command, tmp_path, server, knows_ranges):
    server.knows_ranges = knows_ranges
    server.breaks.extend([1000, 170_000, 0, 100_000, 0] if knows_ranges else [1000, 170_000, 0, 250_000, 0])
    code, out, err = command(*arguments(server, tmp_path), "--first", 30_000)
    assert (code, err) == (0, "") and "the first records, without a checksum of UniProt's" in out
    assert gzip.decompress((tmp_path / PART).read_bytes()) == b">a\nMKT\n" * 30_000
    second = 171_000 if knows_ranges else 170_000
    assert server.ranges == [None, "bytes=1000-", f"bytes={second}-", f"bytes={second}-"]  # the last had enough
    note = json.loads((tmp_path / "uniprot_sprot.first30000.json").read_text())
    assert (note["records"], note["release"]) == (30_000, "2026_01") and "cannot be checked" in note["checked"]
    assert note["sha256"] == hashlib.sha256((tmp_path / PART).read_bytes()).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == [PART, "uniprot_sprot.first30000.json"]


def test_a_part_is_not_fetched_again_and_a_changed_one_is_named(command, tmp_path, server):
    words = (*arguments(server, tmp_path), "--first", 30_000)
    assert command(*words)[0] == 0
    before = (tmp_path / PART).read_bytes()
    server.ranges.clear()
    assert command(*words)[0] == 0 and server.ranges == []
    (tmp_path / PART).write_bytes(b"other")
    code, _, err = command(*words)
    assert code == 2 and "not as it was fetched" in err and (tmp_path / PART).read_bytes() == b"other"
    (tmp_path / PART).unlink()
    assert command(*words)[0] == 0 and (tmp_path / PART).read_bytes() == before


def test_more_records_than_there_are_are_all(command, tmp_path, server):
    assert command(*arguments(server, tmp_path), "--first", 10**9)[0] == 0
    assert gzip.decompress((tmp_path / f"uniprot_sprot.first{10**9}.fasta.gz").read_bytes()) == gzip.decompress(CONTENT)
    assert json.loads((tmp_path / f"uniprot_sprot.first{10**9}.json").read_text())["records"] == 40_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>" * 999, "no whole file of gzip"),
        (gzip.compress(b"MKT\n" * 99, mtime=0), "does not begin with a record of FASTA"),
        (CONTENT[:100_000], "no whole file of gzip"),
        (CONTENT[:50_000] + b"\xff" * 70_000, "no whole file of gzip"),
    ],
)
def test_what_is_no_part_leaves_nothing(refused, tmp_path, server, body, message):
    server.body = lambda start: body[start:]
    server.metalink = metalink(len(body), "0" * 32)
    assert message in refused(*arguments(server, tmp_path), "--first", 30_000)


def test_a_part_that_breaks_off_leaves_nothing(refused, tmp_path, server):
    server.breaks.extend([50_000] + [0] * 20)
    assert "8 failures in a row" in refused(*arguments(server, tmp_path), "--first", 30_000)
    assert "--first 0: expected 1 or more records" in refused(*arguments(server, tmp_path), "--first", 0)


def test_refuses_unknown_databases_and_mirrors(refused, tmp_path, server):
    assert "expected uniref50, uniref90, swissprot" in refused(main, "trembl", "--output", tmp_path)
    assert "expected an http" in refused(main, "swissprot", "--output", tmp_path, "--mirror", "file:///etc")
    for mirror in ("http://", "http:/x", "http://x:y", "http://x:99999", "http://[", "http://x/a b", "http://x/\u00e9"):
        assert "expected an http" in refused(main, "swissprot", "--output", tmp_path, "--mirror", mirror)
    assert "404" in refused(main, "uniref50", "--output", tmp_path, "--mirror", f"{server.mirror}/nowhere")
