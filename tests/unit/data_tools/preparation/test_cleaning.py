import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.proteins.alphabet import encode
from data_tools.formats.inputs import read_proteins
from data_tools.preparation import raw_blocks
from data_tools.preparation.cleaning import (
    GAPS_REMOVED,
    J_TO_X,
    LIKE_NUCLEOTIDES,
    STOP_REMOVED,
    UPPER_CASED,
    NotAProtein,
    Tally,
    clean,
)


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


@pytest.mark.parametrize(
    ("written", "expected", "notes"),
    [
        ("-MK..TV-", "MKTV", [GAPS_REMOVED]),
        ("mk-tV*", "MKTV", [UPPER_CASED, STOP_REMOVED, GAPS_REMOVED]),
        ("MKTV", "MKTV", []),
    ],
)
def test_clean_removes_gaps_where_that_is_asked_for(written, expected, notes):
    assert clean(written, "remove") == (expected, notes)


def test_what_is_gaps_alone_is_empty():
    with pytest.raises(NotAProtein, match="no residue"):
        clean("-.-", "remove")


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


@pytest.mark.parametrize(("num_gapped", "num_whole", "refused"), [(20, 1, True), (1, 0, True), (5, 5, False)])
def test_an_alignment_is_refused_with_what_to_do(tmp_path, num_gapped, num_whole, refused):
    path = fasta(tmp_path, ">a\nM-KT\n" * num_gapped + ">b\nMKVT\n" * num_whole, "x.a3m")
    if refused:
        words = f"{num_gapped} of {num_gapped + num_whole} records hold gaps .*; --gaps remove takes them out"
        with pytest.raises(ValueError, match=words):
            list(read_proteins(path, Tally()))
    else:
        assert len(list(read_proteins(path, Tally()))) == num_whole
    assert {sequence for _, sequence in read_proteins(path, Tally(), gaps="remove")} <= {"MKT", "MKVT"}


def test_secondary_structure_of_an_a3m_is_no_protein(tmp_path):
    tally = Tally()
    path = fasta(tmp_path, "#A3M#\n>ss_pred\nCCHHH\n>ss_conf\n99999\n>P1 first\nM-KTa\n", "x.a3m")
    assert list(read_proteins(path, tally, gaps="remove")) == [("P1", "MKTA")]
    assert tally.skipped == {"secondary structure": 2}


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    path = fasta(tmp_path, gzip.compress(f">p\n{'MKTVRQG' * 50}\n".encode() * 20_000), "x.fasta.gz")
    monkeypatch.setattr(raw_blocks, "_BLOCK_BYTES", 1 << 15)
    tracemalloc.start()
    num_residues = sum(len(sequence) for _, sequence in read_proteins(path, Tally()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_residues == 7_000_000
    assert peak < 500_000
