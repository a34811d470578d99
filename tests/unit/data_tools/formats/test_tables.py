"""Tables, alignments and folders as inputs, with the commands that read them."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools import fasta_to_lmdb, prepare
from data_tools.formats.inputs import expand, read_proteins
from data_tools.formats.lmdb_values import Layout
from data_tools.formats.lmdb_writer import LmdbWriter
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.preparation.cleaning import Tally
from data_tools.preparation.raw_blocks import blocks_of
from tests.damage import changed

STOCKHOLM = (
    "# STOCKHOLM 1.0\n#=GF ID GFP\n\nP1/1-6  MK-T\nP2      MKAT\n#=GR P1/1-6 SS CCHH\n\nP1/1-6  V.\nP2      VG\n"
    "#=GC SS_cons CCHHCC\n//\n# STOCKHOLM 1.0\nP3 GG\n//\n"
)


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def records(path: Path, field: str = "sequence") -> list[tuple[str, str]]:
    return [record for block in blocks_of(path, Layout(field=field)) for record in block.records()]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.csv", "id,sequence\nP1,MKT\nP2,GG\n", [("P1", "MKT"), ("P2", "GG")]),
        ("x.csv", '\ufeffSequence;Entry\r\n"MK\r\nT";P1\r\n\r\nGG;P2', [("P1", "MK\nT"), ("P2", "GG")]),
        ("x.tsv", "Entry\tLength\tSequence\nP1\t3\tMKT\n\t2\tGG\n", [("P1", "MKT"), ("record_2", "GG")]),
        ("x.csv", "sequence\rMKT\rGG\r", [("record_1", "MKT"), ("record_2", "GG")]),
        ("x.csv", '"sequence","name"\n"MK""T","a, b"\n', [("a, b", 'MK"T')]),
        ("x.csv", ">P1\nMKT\n", [("P1", "MKT")]),
        ("x.sto", STOCKHOLM, [("P1/1-6", "MK-TV."), ("P2", "MKATVG"), ("P3", "GG")]),
        ("Pfam-A.seed", STOCKHOLM, [("P1/1-6", "MK-TV."), ("P2", "MKATVG"), ("P3", "GG")]),
        ("x.a3m", "#query\n>P1\nMK-T\n>P2\nMKaT\n", [("P1", "MK-T"), ("P2", "MKaT")]),
    ],
)
def test_reads_the_records_as_written(tmp_path, name, text, expected):
    assert records(write(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "id,seq\nP1,MKT\n", r"x\.csv: no column 'sequence' among .*'id, seq'; name it by --field"),
        ("x.csv", "", r"x\.csv: no column 'sequence'"),
        ("x.csv", "id,sequence\n", r"x\.csv: empty, no record in it"),
        ("x.csv", "id,sequence\nP1,MKT\nP2\n", r"x\.csv, line 3: 1 columns, where the first line names 2"),
        ("x.tsv", "id\tsequence\nP1\tM\xe9T\n".encode("latin-1"), r"x\.tsv, line 2: not text in UTF-8"),
        ("x.sto", "# STOCKHOLM 1.0\nP1 MKT\n", r"x\.sto: ends after line 2 without the // .*; is it cut off\?"),
        ("x.sto", "# STOCKHOLM 1.0\nP1 MKT 3\n//\n", r"x\.sto, line 2: expected an id and letters with a space"),
        ("x.sto", "# STOCKHOLM 1.0\n//\n", r"x\.sto: empty, no record in it"),
        ("x.txt", "id,sequence\nP1,MKT\n", r"x\.txt, line 1: 'id,sequence' comes before .* must be named \.csv or"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        records(write(tmp_path, name, text))


def test_a_quotation_mark_without_its_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("data_tools.formats.tables.LONGEST_LINE_BYTES", 1000)
    path = write(tmp_path, "x.csv", 'id,sequence\nP1,"MKT\n' + "P2,GG\n" * 1000)
    with pytest.raises(ValueError, match=r"x\.csv, line \d+: field larger .*; is a quotation mark not closed\?"):
        records(path)


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=100)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_a_table_is_read_as_it_was_written(rows, separator):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "sequence"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = records(write(Path(folder), "x.csv", text.getvalue()))
    lines = ["".join(value.replace("\r\n", "\n").replace("\r", "\n") for value in [row[1]]) for row in rows]
    assert [sequence for _, sequence in found] == lines
    assert [name for name, _ in found] == [
        row[0].replace("\r\n", "\n").replace("\r", "\n").strip() or f"record_{n}" for n, row in enumerate(rows, start=1)
    ]


@settings(max_examples=300)
@given(st.data(), st.sampled_from(["x.csv", "x.tsv", "x.sto", "x.fasta", "x.a3m"]))
def test_a_changed_file_is_read_or_named(data, name):
    texts = {".csv": "id,sequence\nP1,MKT\nP2,GG\n", ".tsv": "id\tsequence\nP1\tMKT\n", ".sto": STOCKHOLM}
    text = texts.get(Path(name).suffix, ">P1 first\nMKT\nVR\n>P2\nGG\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), name, data.draw(changed(text)))
        tally = Tally()
        try:
            found = list(read_proteins(path, tally, gaps="remove"))
        except ValueError as error:
            assert str(error).startswith(f"{path}")
            return
        assert len(found) == tally.kept <= tally.read


def test_large_tables_are_cut_into_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("data_tools.preparation.raw_blocks._BLOCK_RECORDS", 7)
    path = write(tmp_path, "x.csv", "id,sequence\n" + "".join(f"P{n},MKT\n" for n in range(30)))
    blocks = list(blocks_of(path, Layout()))
    assert [block.first_record for block in blocks] == [1, 8, 15, 22, 29]
    assert sum(block.num_bytes for block in blocks) == path.stat().st_size
    assert [name for block in blocks for name, _ in block.records()] == [f"P{n}" for n in range(30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six inputs, and what is none."""
    folder = tmp_path / "raw"
    folder.mkdir()
    write(folder, "b.fasta", ">b\nMKT\n")
    write(folder, "A.FA", ">a\nMKT\n")
    write(folder, "c.csv", "id,sequence\nc,MK-T\n")
    write(folder, "d.sto", "# STOCKHOLM 1.0\nd MK.T\n//\n")
    with LmdbWriter(folder / "e.lmdb") as writer:
        writer.add("e", "MKT")
    write(folder, "README.md", "no proteins")
    write(folder, ".hidden.fasta", ">h\nMKT\n")
    return folder


def test_a_folder_stands_for_the_inputs_in_it(folder, command, tmp_path):
    assert [path.name for path in expand([folder])] == ["A.FA", "b.fasta", "c.csv", "d.sto", "e.lmdb"]
    output = tmp_path / "x.lmdb"
    assert command(fasta_to_lmdb.main, "--input", folder, "--output", output, "--gaps", "remove")[0] == 0
    with ProteinsLmdb(output) as proteins:
        assert [(record.name, record.sequence) for record in proteins] == [(name, "MKT") for name in "abcde"]


def test_several_inputs_after_one_option(folder, command, tmp_path):
    outputs = [tmp_path / "one.lmdb", tmp_path / "other.lmdb"]
    files = [folder / "A.FA", folder / "b.fasta"]
    assert command(fasta_to_lmdb.main, "--input", *files, "--output", outputs[0])[0] == 0
    assert command(fasta_to_lmdb.main, "--input", files[0], "--output", outputs[1], "--input", files[1])[0] == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_prepare_reads_them_all(folder, command, tmp_path):
    words = ("--input", folder, "--validation", 0, "--gaps", "remove", "--workers", 1)
    code, out, _ = command(prepare.main, *words, "--output", tmp_path / "out")
    assert code == 0
    assert ["duplicates", "4"] in [[cell.strip() for cell in line.split("│")[1:3]] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["."], "a folder with no LMDB in it, and no file named .fasta"),
        (["raw", "raw/b.fasta"], "an --input is named twice"),
        (["raw/b.fasta", "raw/../raw/b.fasta"], "an --input is named twice"),
        (["raw/b.fasta", "link"], "an --input is named twice"),
        (["raw/none.fasta"], "raw/none.fasta: no such file"),
    ],
)
@pytest.mark.parametrize("module", [prepare, fasta_to_lmdb])
def test_inputs_that_cannot_be_are_named(folder, refused, tmp_path, module, names, message):
    (tmp_path / "link").symlink_to(folder / "b.fasta")
    words = ("--input", *(tmp_path / name for name in names))
    assert message in refused(module.main, *words, "--output", tmp_path / "out.lmdb")


def test_gaps_are_skipped_or_removed_and_nothing_else(refused, folder, tmp_path):
    for module in (prepare, fasta_to_lmdb):
        words = ("--input", folder, "--output", tmp_path / "out", "--gaps", "keep")
        assert "--gaps keep: expected skip, remove" in refused(module.main, *words)
