import json
import pickle
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.proteins.alphabet import RESIDUE_LETTERS
from d2plm_megatron.proteins.fasta import read_fasta, write_fasta
from data_tools import fasta_to_lmdb, inspect_indexed
from data_tools.formats.lmdb_writer import LmdbWriter
from data_tools.lmdb_to_indexed import convert, main
from data_tools.preparation.cleaning import Tally


def database_of(folder: Path, sequences: list[str]) -> Path:
    with LmdbWriter(folder / "x.lmdb") as writer:
        for number, sequence in enumerate(sequences):
            writer.add(f"p{number}", sequence)
    return folder / "x.lmdb"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(RESIDUE_LETTERS, min_size=1, max_size=150), min_size=1, max_size=15))
def test_from_fasta_to_fasta_nothing_changes(sequences):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fasta(folder / "x.fasta", ((f"p{number}", sequence) for number, sequence in enumerate(sequences)))
        fasta_to_lmdb.convert([folder / "x.fasta"], folder / "x.lmdb", Tally())
        assert convert(folder / "x.lmdb", folder / "x") == (len(sequences), sum(map(len, sequences)))
        inspect_indexed.main(str(folder / "x"), folder / "y.fasta", first=0)
        assert [sequence for _, sequence in read_fasta(folder / "y.fasta")] == sequences


def test_prints_counts(command, tmp_path):
    code, out, err = command(main, "--input", database_of(tmp_path, ["MKT", "GG"] * 600), "--output", tmp_path / "x")
    assert (code, err) == (0, "")
    assert {"1,200", "3,000"} <= set(out.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "x.checksums.json", "x.idx", "x.lmdb"]


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("MKtV", "key '1': 't' at position 3 is no residue"),
        ("MK*", "key '1': '*' at position 3 is no residue"),
        ("JMK", "key '1': 'J' at position 1 is no residue"),
        ("MK\u03b1", "key '1': '\u03b1' at position 3 is no residue"),
        ("", "key '1': "),
    ],
)
def test_refuses_sequences_that_are_not_clean(refused, tmp_path, sequence, message):
    line = refused(main, "--input", database_of(tmp_path, ["MKT", sequence]), "--output", tmp_path / "x")
    assert message in line and "clean it with fasta_to_lmdb" in line


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"0": pickle.dumps({"sequence": "MKT"})}, "key '0': the value is pickled"),
        ({"0": b"MKT"}, "key '0': the value is not JSON"),
        ({"0": b"{}"}, "key '0': the value has no"),
        ({"0": json.dumps({"sequence": "MKT"}).encode(), "7": b"{}"}, "none with key '1'"),
    ],
    ids=["pickled", "not JSON", "no sequence", "key missing"],
)
def test_refuses_other_databases(refused, tmp_path, values, message):
    with lmdb.open(str(tmp_path / "x.lmdb"), subdir=False, lock=False) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    assert message in refused(main, "--input", tmp_path / "x.lmdb", "--output", tmp_path / "x")


def test_refuses_a_missing_database(refused, tmp_path):
    assert "x.lmdb is missing" in refused(main, "--input", tmp_path / "x.lmdb", "--output", tmp_path / "x")


def test_a_full_disk_leaves_nothing(refused, tmp_path, small_disk):
    database = database_of(tmp_path, ["MKTVRQG" * 50] * 1000)
    line = refused(main, "--input", database, "--output", small_disk / "x", folder=small_disk)
    assert "no space left on the device" in line
