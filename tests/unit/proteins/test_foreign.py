import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.proteins.foreign import describe

FILES = {
    b"LOCUS       AB000263  368 bp    mRNA\nDEFINITION  Homo": "GenBank or GenPept",
    b"ID   104K_THEAN              Reviewed;         893 AA.\nAC   Q4U9M9;": "UniProt's text format",
    b"ID   X56734; SV 1; linear; mRNA; STD; PLN; 1859 BP.\n": "EMBL",
    b"@SRR001 1\nACGTACGT\n+\nIIIIIIII\n": "FASTQ, reads of nucleotides",
    b"CLUSTAL W (1.82) multiple sequence alignment\n\nP1  MK-T\n": "a Clustal alignment",
    b"#NEXUS\nBEGIN DATA;\n": "a Nexus alignment",
    b" 2 4\nP1        MK-T\nP2        MKAT\n": "a PHYLIP alignment",
    b"# STOCKHOLM 1.0\n\nP1 MK-T\n//\n": "a Stockholm alignment",
    b"HEADER    OXYGEN STORAGE    01-JAN-00   1ABC\n": "a PDB structure",
    b"data_1ABC\n#\n_entry.id 1ABC\n": "an mmCIF structure",
    b"<!DOCTYPE html><html><title>404</title>": "XML or HTML",
    b'{"sequence": "MKT"}\n': "JSON",
    b"PAR1\x15\x04\x15\x10": "Parquet",
    b"ARROW1\x00\x00": "Arrow or Feather",
    b"%PDF-1.7\n%\xe2\xe3": "PDF",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x80\x04\x95\x1f": "a pickle",
    b"\x93NUMPY\x01\x00": "an array of numpy",
    b"\x89PNG\r\n\x1a\n": "a picture",
    b"Rar!\x1a\x07": "a 7z or rar archive",
}


@pytest.mark.parametrize(("start", "name"), FILES.items(), ids=FILES.values())
def test_says_what_it_is_and_what_to_do(tmp_path, start, name):
    path = tmp_path / "x.fasta"
    path.write_bytes(start + b"\nmore\n" * 100)
    with pytest.raises(ValueError, match=rf"x\.fasta, line \d: this is {name}.*, not FASTA; \w+ .*") as refused:
        list(read_fasta(path))
    assert str(refused.value).isprintable()


def test_a_workbook_is_no_zip_of_fasta(tmp_path):
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04" + b"\x00" * 100)
    with pytest.raises(
        ValueError, match=r"compressed by zip, but not named so; .*of a workbook save the sheet as \.csv"
    ):
        list(read_fasta(tmp_path / "x.xlsx"))


@given(st.binary(max_size=300))
def test_repeats_nothing_that_does_not_print(head):
    said = describe(head, head)
    assert len(said) < 400 and said.isprintable()
    if re.search(rb"[\x00-\x08\x0e-\x1f]", head) and "this is no text" not in said:
        assert said.startswith("this is ")
