import gzip
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.alphabet import encode
from data_tools.cleaning import (
    J_TO_X,
    LIKE_NUCLEOTIDES,
    STOP_REMOVED,
    UPPER_CASED,
    NotAProtein,
    Tally,
    clean,
    read_proteins,
)
from data_tools.fasta import parse, read_fasta, text_blocks, write_fasta


def fasta(folder: Path, text: str | bytes, name: str = "x.fasta") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("written", "expected", "notes"),
    [
        ("MKTVRQG", "MKTVRQG", []),
        ("mktVRQG", "MKTVRQG", [UPPER_CASED]),
        ("MKTVRQG*", "MKTVRQG", [STOP_REMOVED]),
        ("MJTJ", "MXTX", [J_TO_X]),
        ("mj*", "MX", [UPPER_CASED, STOP_REMOVED, J_TO_X]),
        ("MK T\tVR\nQG", "MKTVRQG", []),
        ("XBUZO", "XBUZO", []),
        ("ACGT" * 8, "ACGT" * 8, [LIKE_NUCLEOTIDES]),
        ("acgun" * 6, "ACGUN" * 6, [UPPER_CASED, LIKE_NUCLEOTIDES]),
        ("ACGTN" * 5 + "ACGT", "ACGTN" * 5 + "ACGT", []),
    ],
)
def test_clean_mends(written, expected, notes):
    assert clean(written) == (expected, notes)


@pytest.mark.parametrize(
    ("written", "reason", "message"),
    [
        ("", "empty", "no residue"),
        (" \t", "empty", "no residue"),
        ("*", "empty", "no residue"),
        ("MK*TV", "stop (*) inside", r"'\*' at position 3"),
        ("MKT**", "stop (*) inside", r"'\*' at position 4"),
        ("MK-TV", "gap (- or .)", "'-' at position 3"),
        (".MKTV", "gap (- or .)", r"'\.' at position 1"),
        ("MK 7TV", "digit", "'7' at position 3"),
        ("MKTV>", "other character", "'>' at position 5"),
        ("MKßTV", "other character", "'ß' at position 3"),
        ("MKıTV", "other character", "'ı' at position 3"),
    ],
)
def test_clean_skips(written, reason, message):
    with pytest.raises(NotAProtein, match=message) as skipped:
        clean(written)
    assert skipped.value.reason == reason


def test_a_hundred_thousand_residues_may_be_one_protein():
    assert clean("M" * 100_000 + "*") == ("M" * 100_000, [STOP_REMOVED])
    with pytest.raises(NotAProtein, match="100,001 residues; were several records joined") as skipped:
        clean("M" * 100_001)
    assert skipped.value.reason == "longer than any protein"


@given(st.text("ACDEFGHIKLMNPQRSTVWYXBUZOJacdejx* \t-.1ſß", min_size=1, max_size=50))
def test_clean_gives_residues_and_is_idempotent(written):
    try:
        residues, _ = clean(written)
    except NotAProtein:
        assert set(written) & set("*-.1ſß") or not written.strip()
        return
    assert len(encode(residues)) == len(residues) > 0
    assert clean(residues)[0] == residues


def test_reads_headers_and_lines_as_databases_write_them(tmp_path):
    text = "\ufeff\n>sp|P1|A first protein\nMKT\nVRQ\n\n>P2\r\nac\r\nde\r\n>\nGG\n>P4\n>P5 ß\nK"
    expected = [("sp|P1|A", "MKTVRQ"), ("P2", "acde"), ("record_3", "GG"), ("P4", ""), ("P5", "K")]
    assert list(read_fasta(fasta(tmp_path, text))) == expected
    assert list(read_fasta(fasta(tmp_path, gzip.compress(text.encode()), "x.fasta.gz"))) == expected


PACKED = gzip.compress(b">a\nMKT\n" * 2000, mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.fasta", b"", r"x\.fasta: empty"),
        ("x.fasta.gz", b"", r"x\.fasta\.gz: empty"),
        ("x.fasta.gz", gzip.compress(b""), r"x\.fasta\.gz: empty"),
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


def test_tally_counts_everything_and_names_the_first_five(tmp_path):
    bad = "".join(f">bad{i}\nMK-\n" for i in range(4)) + ">bad4\n\n>bad5\nM1\n"
    tally = Tally()
    kept = list(read_proteins(fasta(tmp_path, f">a\nmkt\n{bad}>b\nMKJ*\n>c\nMKT\n"), tally))
    assert kept == [("a", "MKT"), ("b", "MKX"), ("c", "MKT")]
    assert (tally.read, tally.kept) == (9, 3)
    assert tally.notes == {UPPER_CASED: 1, STOP_REMOVED: 1, J_TO_X: 1}
    assert tally.skipped == {"gap (- or .)": 4, "empty": 1, "digit": 1}
    assert tally.examples[0] == "bad0: '-' at position 3 is no residue"
    assert [example.split(":")[0] for example in tally.examples] == [f"bad{i}" for i in range(5)]


def test_refuses_a_file_without_any_protein(tmp_path):
    with pytest.raises(ValueError, match="none of the 2 records is a protein; the first is a: '-' at position 1"):
        list(read_proteins(fasta(tmp_path, ">a\n-\n>b\n1\n"), Tally()))


@pytest.mark.parametrize(("num_nucleotides", "num_proteins", "refused"), [(10, 0, True), (9, 0, False), (10, 1, False)])
def test_refuses_nucleotides_only_if_all_of_ten_are(tmp_path, num_nucleotides, num_proteins, refused):
    text = f">n\n{'ACGT' * 8}\n" * num_nucleotides + ">p\nMKTVRQG\n" * num_proteins
    tally = Tally()
    if refused:
        with pytest.raises(ValueError, match="all 10 sequences consist of A, C, G, T, U and N"):
            list(read_proteins(fasta(tmp_path, text), tally))
    else:
        assert len(list(read_proteins(fasta(tmp_path, text), tally))) == num_nucleotides + num_proteins
    assert tally.notes[LIKE_NUCLEOTIDES] == num_nucleotides


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = fasta(tmp_path, gzip.compress(f">p\n{'MKTVRQG' * 50}\n".encode() * 20_000), "x.fasta.gz")
    tracemalloc.start()
    num_residues = sum(len(sequence) for _, sequence in read_proteins(path, Tally()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_residues == 7_000_000
    assert peak < 500_000


def test_writes_lines_of_sixty(tmp_path):
    write_fasta(tmp_path / "x.fasta", [("a first", "M" * 60), ("b", "K" * 61)])
    assert (tmp_path / "x.fasta").read_text() == f">a first\n{'M' * 60}\n>b\n{'K' * 60}\nK\n"
