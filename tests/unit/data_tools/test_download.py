import gzip
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_tools import download
from data_tools.download import DATABASES, main

NAME = "uniprot_sprot.fasta.gz"
CONTENT = gzip.compress(b">a\nMKT\n" * 40_000, compresslevel=0, mtime=0)


class Server(ThreadingHTTPServer):
    """UniProt's folder of Swiss-Prot.

    breaks         after how many bytes the next connections for the file end; then they hold
    knows_ranges   answers a Range with that range, else with everything
    metalink       what RELEASE.metalink says
    ranges         the Range of each request for the file
    part           the Content-Range of an answer, if it is to lie
    content        of the file
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: deque[int] = deque()
        self.knows_ranges = True
        self.metalink = metalink(len(CONTENT), hashlib.md5(CONTENT).hexdigest())
        self.ranges: list[str | None] = []
        self.part: str | None = None
        self.content = CONTENT

    @property
    def mirror(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/pub"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if self.path == f"/pub/{DATABASES['swissprot'].rpartition('/')[0]}/RELEASE.metalink":
            self._answer(200, server.metalink.encode(), None)
        elif self.path == f"/pub/{DATABASES['swissprot']}":
            server.ranges.append(self.headers.get("Range"))
            start = int((server.ranges[-1] or "bytes=0-")[6:-1]) if server.knows_ranges else 0
            broken = server.breaks.popleft() if server.breaks else None
            self._answer(206 if start else 200, server.content[start:], broken)
        else:
            self.send_error(404)

    def _answer(self, status: int, body: bytes, broken: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", self.server.part or f"bytes {len(CONTENT) - len(body)}-/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[:broken])

    def log_message(self, *_: object) -> None:
        pass


def metalink(size: object, md5: str, name: str = NAME) -> str:
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
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


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


def test_another_part_than_the_one_asked_for_is_not_appended(command, tmp_path, server):
    server.breaks.append(50_000)
    server.part = "bytes 7-9/10"
    code, _, err = command(*arguments(server, tmp_path))
    assert code == 2 and "sends another part than the one from byte 50,000 on" in err
    server.part = None
    assert command(*arguments(server, tmp_path))[0] == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_no_more_is_taken_than_was_announced(command, tmp_path, server, monkeypatch):
    server.content = CONTENT * 200
    kept = []
    monkeypatch.setattr(download, "_check_sum", lambda url, path, *_, **__: kept.append(path.stat().st_size))
    assert command(*arguments(server, tmp_path))[0] == 0
    assert kept == [len(CONTENT)]


@pytest.mark.parametrize("digits", ["../../x/" * 4, "/" * 32, "0" * 31, "g" * 32])
def test_what_is_no_checksum_names_no_file(refused, tmp_path, server, digits):
    server.metalink = metalink(len(CONTENT), digits)
    assert "does not give size and checksum" in refused(*arguments(server, tmp_path))


@pytest.mark.parametrize("size", ["²", "٣", "9" * 400, "-1"])
def test_what_is_no_size_is_refused(refused, tmp_path, server, size):
    server.metalink = metalink(size, "0" * 32)
    assert "does not give size and checksum" in refused(*arguments(server, tmp_path))


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
    ],
)
def test_refuses_bad_metalinks(refused, tmp_path, server, text, message):
    server.metalink = text
    assert message in refused(*arguments(server, tmp_path))


def test_refuses_unknown_databases_and_mirrors(refused, tmp_path, server):
    assert "expected uniref50, uniref90, swissprot" in refused(main, "trembl", "--output", tmp_path)
    assert "expected an http" in refused(main, "swissprot", "--output", tmp_path, "--mirror", "file:///etc")
    assert "404" in refused(main, "uniref50", "--output", tmp_path, "--mirror", f"{server.mirror}/nowhere")
