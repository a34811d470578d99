"""Proteins of FASTA files, with the family and the checkpoint that a header tells."""

import pytest

from d2plm_megatron.proteins.named import read_proteins


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "empty, no record in it"),
        (b"MKT\n>a\nMKT\n", "line 1: 'MKT' comes before the first '>' header"),
        (b"PAR1" + bytes(range(256)), "this is Parquet, not FASTA; write it as CSV"),
        (b">a\n>b\nMKT\n", "record a: no residue"),
        (b">\xff\xfe\nMKT\n", "not text in UTF-8"),
    ],
)
def test_what_is_no_fasta_is_named(contents, message, tmp_path):
    path = tmp_path / "wrong.fasta"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"wrong.fasta.*{message}"):
        read_proteins(path)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_fasta_is_read_in_upper_case_with_families(tmp_path, line_end, encoding):
    path = tmp_path / "some.fasta"
    text = ">sim_1 family=GFP_AEQVI identity=0.71 checkpoint_step=75\nmkt\nayi*\n>\nMK\n"
    path.write_bytes(text.replace("\n", line_end).encode(encoding))
    first, second = read_proteins(path)
    assert (first.name, first.family, first.step, first.sequence) == ("sim_1", "GFP_AEQVI", 75, "MKTAYI")
    assert (second.name, second.family, second.step) == ("record_2", None, None)
