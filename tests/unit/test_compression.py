import bz2
import gzip
import io
import lzma
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron import compression
from d2plm_megatron.compression import lines, open_text


def zipped(data: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("inside.fasta",):
            archive.writestr(name, data)
    return buffer.getvalue()


PACKERS = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
}
TEXT = b">a\nMKT\n" * 40_000


def text_of(path: Path) -> bytes:
    with open_text(path) as plain:
        return b"".join(iter(lambda: plain.read(5_000), b""))


@pytest.mark.parametrize("ending", PACKERS)
def test_reads_what_was_packed(tmp_path, ending):
    path = tmp_path / f"x.fasta{ending}"
    path.write_bytes(PACKERS[ending](TEXT))
    assert text_of(path) == TEXT
    with open_text(path) as plain:
        assert plain.name == ("inside.fasta" if ending == ".zip" else "x.fasta") and TEXT.startswith(plain.head)


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
def test_reads_what_was_packed_in_several_parts(tmp_path, ending):
    path = tmp_path / f"x.fasta{ending}"
    path.write_bytes(PACKERS[ending](TEXT[:999]) + PACKERS[ending](TEXT[999:]))
    assert text_of(path) == TEXT


@settings(max_examples=150)
@given(st.sampled_from(list(PACKERS)), st.data())
def test_packed_data_cut_off_or_changed_are_named_and_never_other_text(ending, data):
    packed = PACKERS[ending](TEXT)
    cut, place = data.draw(st.booleans()), data.draw(st.integers(0, len(packed) - 1))
    changed = (
        packed[:place] if cut else packed[:place] + data.draw(st.binary(min_size=1, max_size=4)) + packed[place + 4 :]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x.fasta{ending}")
        path.write_bytes(changed)
        try:
            assert text_of(path) == TEXT or not changed
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(TEXT, "a.fasta", "b.fasta"), r"x\.zip: a zip of 2 files; unpack it, and give the folder"),
        (zipped(TEXT, "a/"), r"x\.zip: a zip of 0 files"),
        (zipped(TEXT)[:-30], r"x\.zip: cannot be unpacked here \(File is not a zip file\)"),
    ],
)
def test_refuses_other_zips(tmp_path, data, message):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        text_of(tmp_path / "x.zip")


def test_a_zip_of_a_mac_has_one_file(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(TEXT, "a.fasta", "__MACOSX/._a.fasta"))
    assert text_of(tmp_path / "x.zip") == TEXT


@settings(max_examples=200)
@given(st.text("ab\n\r", max_size=60), st.booleans(), st.integers(1, 7))
def test_line_ends_are_one_wherever_the_text_is_cut(text, mark, head_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_HEAD_BYTES", head_bytes)
        patch.setattr(compression, "_PIECE_BYTES", 3)
        path = Path(folder, "x.txt")
        path.write_bytes(b"\xef\xbb\xbf" * mark + text.encode())
        expected = text.replace("\r\n", "\n").replace("\r", "\n")
        assert text_of(path) == expected.encode()
        with open_text(path) as plain:
            assert list(lines(plain, path)) == expected.removesuffix("\n").split("\n") if expected else [""]


def test_utf_16_is_named(tmp_path):
    (tmp_path / "x.fasta").write_text(">a\nMKT\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"x\.fasta: text in UTF-16, .*; save it as UTF-8"):
        text_of(tmp_path / "x.fasta")


def test_lines_name_what_is_no_text_and_what_is_endless(tmp_path, monkeypatch):
    (tmp_path / "x.tsv").write_bytes(b"a\nb\xe9\n")
    with pytest.raises(ValueError, match=r"x\.tsv, line 2: not text in UTF-8"), open_text(tmp_path / "x.tsv") as plain:
        list(lines(plain, tmp_path / "x.tsv"))
    monkeypatch.setattr(compression, "LONGEST_LINE_BYTES", 1 << 20)
    (tmp_path / "x.tsv").write_bytes(b"a\n" + b"x" * (1 << 21))
    with pytest.raises(ValueError, match="line 2: longer than 64 MiB"), open_text(tmp_path / "x.tsv") as plain:
        list(lines(plain, tmp_path / "x.tsv"))


def test_a_long_line_takes_time_in_proportion(tmp_path):
    def seconds(num_bytes: int) -> float:
        (tmp_path / "x.tsv").write_bytes(b"x" * num_bytes)
        begin = time.process_time()
        with open_text(tmp_path / "x.tsv") as plain:
            assert [len(line) for line in lines(plain, tmp_path / "x.tsv")] == [num_bytes]
        return time.process_time() - begin

    assert seconds(1 << 26) < 1000 * min(seconds(1 << 20) for _ in range(3))  # in the square of it 4,096
