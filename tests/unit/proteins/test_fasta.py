import gzip
import tempfile
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.proteins.fasta import parse, read_fasta, text_blocks, write_fasta


def fasta(folder: Path, text: str | bytes, name: str = "x.fasta") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_headers_and_lines_as_databases_write_them(tmp_path):
    text = "\ufeff\n>sp|P1|A first protein\nMKT\nVRQ\n\n>P2\r\nac\r\nde\r\n>\nGG\n>P4\n>P5 ß\nK"
    expected = [("sp|P1|A", "MKTVRQ"), ("P2", "acde"), ("record_3", "GG"), ("P4", ""), ("P5", "K")]
    assert list(read_fasta(fasta(tmp_path, text))) == expected
    assert list(read_fasta(fasta(tmp_path, gzip.compress(text.encode()), "x.fasta.gz"))) == expected


@given(
    st.lists(st.text("MKT\n", max_size=12), min_size=1, max_size=6), st.sampled_from(["\r\n", "\r"]), st.integers(1, 9)
)
def test_line_ends_of_other_systems_change_nothing(sequences, line_end, block_bytes):
    text = "".join(f">p{n} é\n{sequence}\n" for n, sequence in enumerate(sequences))
    with tempfile.TemporaryDirectory() as name:
        blocks = [
            list(text_blocks(fasta(Path(name), text.replace("\n", end)), block_bytes)) for end in ("\n", line_end)
        ]
    one, other = ([(b.first_line, b.first_record, list(parse("x", b))) for b in own] for own in blocks)
    assert [record for *_, own in one for record in own] == [record for *_, own in other for record in own]
    assert one[0][:2] == other[0][:2] == (1, 1)


def test_comments_may_come_first(tmp_path):
    path = fasta(tmp_path, "; old FASTA\n#123\t1\n\n>a\nMKT\n")
    assert list(read_fasta(path)) == [("a", "MKT")]
    assert [block.first_line for block in text_blocks(path)] == [1]


def test_a_long_record_takes_time_in_proportion(tmp_path):
    def seconds(num_bytes: int) -> float:
        path = fasta(tmp_path, b">a\n" + b"M" * num_bytes + b"\n>b\nK\n")
        begin = time.process_time()
        assert [len(sequence) for _, sequence in read_fasta(path)] == [num_bytes, 1]
        return time.process_time() - begin

    assert seconds(1 << 26) < 1000 * min(seconds(1 << 20) for _ in range(3))  # in the square of it 4,096


PACKED = gzip.compress(b">a\nMKT\n" * 2000, mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.fasta", b"", r"x\.fasta: empty"),
        ("x.fasta.gz", b"", r"x\.fasta\.gz: empty"),
        ("x.fasta.gz", gzip.compress(b"", mtime=0), r"x\.fasta\.gz: empty"),
        ("x.fasta", b"\n \n", "empty"),
        ("x.fasta", b"\n\nMKT\n>a\nMKT\n", r"x\.fasta, line 3: 'MKT' comes before the first '>'"),
        ("x.fasta", b"\n >a\nMKT\n>b\nAAA\n", r"x\.fasta, line 2: white space before '>'"),
        ("x.csv", b"id,sequence\na,MKT\n", r"line 1: 'id,sequence' comes before"),
        ("x.fasta.gz", b">a\nMKT\n", "named .gz, but not compressed"),
        ("x.fasta", PACKED, r"compressed by gzip, but not named so; rename it to x\.fasta\.gz"),
        ("x.fasta.gz", PACKED[:-12], "gzip data damaged"),
        ("x.fasta.gz", PACKED[:40] + b"\x00\x01\x02" + PACKED[43:], "gzip data damaged"),
        ("x.fasta", b">a\nMKT\n>b\nM\xe9T\n", r"line 4: not text in UTF-8"),
    ],
)
def test_refuses_what_is_no_fasta(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        list(read_fasta(fasta(tmp_path, data, name)))


ZSTD = zstandard.compress(b">a\nMKT\n" * 2000)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.fasta.zst", ZSTD[:-6], "zstd data damaged"),
        ("x.fasta.zst", ZSTD[:9] + b"\xff\xff\xff" + ZSTD[12:], "zstd data damaged"),
        ("x.fasta", ZSTD, r"compressed by zstd, but not named so; rename it to x\.fasta\.zst"),
        ("x.fasta.zst", b">a\nMKT\n", "named .zst, but not compressed by zstd"),
    ],
)
def test_refuses_damaged_zstd(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        list(read_fasta(fasta(tmp_path, data, name)))


@given(st.lists(st.text("ACDE\n", max_size=30), min_size=1, max_size=20), st.integers(1, 64))
def test_blocks_change_nothing(sequences, block_bytes):
    with tempfile.TemporaryDirectory() as name:
        path = fasta(Path(name), "\n" + "".join(f">p{n}\n{text}\n" for n, text in enumerate(sequences)))
        found = [
            (title, sequence) for block in text_blocks(path, block_bytes) for title, sequence in parse(path, block)
        ]
    assert found == [(f"p{n}", text.replace("\n", "")) for n, text in enumerate(sequences)]


def test_refuses_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_fasta(tmp_path / "missing.fasta"))
    with pytest.raises(IsADirectoryError):
        list(read_fasta(tmp_path))


def test_writes_lines_of_sixty(tmp_path):
    write_fasta(tmp_path / "x.fasta", [("a first", "M" * 60), ("b", "K" * 61)])
    assert (tmp_path / "x.fasta").read_text() == f">a first\n{'M' * 60}\n>b\n{'K' * 60}\nK\n"
