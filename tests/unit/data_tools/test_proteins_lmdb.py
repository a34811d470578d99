import json
import pickle
from pathlib import Path

import lmdb
import pytest

from data_tools import lmdb_writer
from data_tools.lmdb_writer import LmdbWriter
from data_tools.proteins_lmdb import ProteinsLmdb


def write(path: Path, sequences: list[str]) -> Path:
    with LmdbWriter(path) as writer:
        for number, sequence in enumerate(sequences):
            writer.add(f"id{number}", sequence)
    return path


def database_of(folder: Path, values: dict[str, bytes]) -> Path:
    """A database as others write it, a directory."""
    path = folder / "other.lmdb"
    with lmdb.open(str(path)) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return path


def test_reads_in_numeric_order(tmp_path):
    sequences = ["M" * (number + 1) for number in range(123)]  # as bytes, key 10 comes before key 2
    with ProteinsLmdb(write(tmp_path / "x.lmdb", sequences)) as proteins:
        assert len(proteins) == 123
        assert [record[:3] for record in proteins] == [
            (str(number), f"id{number}", text) for number, text in enumerate(sequences)
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["x.lmdb"]


def test_grows_beyond_the_first_map(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_BYTES", 1 << 16)
    monkeypatch.setattr(lmdb_writer, "_RECORDS_AT_ONCE", 7)
    sequences = [letter * 5_000 for letter in "ACDEFGHIKLMNPQRSTVWY" * 5]
    with ProteinsLmdb(write(tmp_path / "x.lmdb", sequences)) as proteins:
        assert [record.sequence for record in proteins] == sequences
    assert (tmp_path / "x.lmdb").stat().st_size > 1 << 18


def test_reads_directories_of_records_without_id(tmp_path):
    path = database_of(tmp_path, {"1": b'{"sequence": "MKT"}', "0": b'{"sequence": "GG", "length": 2}'})
    with ProteinsLmdb(path) as proteins:
        assert [record[:3] for record in proteins] == [("0", "0", "GG"), ("1", "1", "MKT")]


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_refuses_pickles_without_running_them(tmp_path):
    path = database_of(tmp_path, {"0": b'{"sequence": "MKT"}', "1": pickle.dumps(Payload(tmp_path / "trace"))})
    with (
        pytest.raises(ValueError, match=r"key '1': the value is pickled, .* can run code"),
        ProteinsLmdb(path) as proteins,
    ):
        list(proteins)
    assert not (tmp_path / "trace").exists()


GOOD = b'{"sequence": "MKT"}'


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"0": GOOD, "1": b"MKT"}, r"other\.lmdb, key '1': the value is not JSON"),
        ({"0": b"\xff\xfe"}, "key '0': the value is not JSON"),
        ({"0": b'{"primary": "MKT"}'}, "key '0': the value has no \"sequence\""),
        ({"0": b'{"sequence": 3}'}, "key '0': the value has no \"sequence\""),
        ({"0": b'["MKT"]'}, "key '0': the value has no \"sequence\""),
        ({"0": GOOD, "2": GOOD}, "2 records, but none with key '1'; the keys must be '0' to '1'"),
        ({"0": GOOD, "length": b"1"}, "none with key '1'"),
        ({}, "the database is empty"),
    ],
)
def test_refuses_other_databases(tmp_path, values, message):
    with pytest.raises(ValueError, match=message), ProteinsLmdb(database_of(tmp_path, values)) as proteins:
        list(proteins)


@pytest.mark.parametrize("data", [b"", b">a\nMKT\n" * 2000], ids=["empty", "other"])
def test_refuses_files_that_are_no_database(tmp_path, data):
    (tmp_path / "x.lmdb").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.lmdb: not an LMDB database"), ProteinsLmdb(tmp_path / "x.lmdb"):
        pass


def test_refuses_folders_without_database_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="not an LMDB database"), ProteinsLmdb(tmp_path):
        pass
    with pytest.raises(FileNotFoundError, match=r"missing\.lmdb is missing"), ProteinsLmdb(tmp_path / "missing.lmdb"):
        pass


def test_refuses_a_file_cut_off(tmp_path):
    path = write(tmp_path / "x.lmdb", ["MKT" * 1000] * 20)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ValueError, match="cut off, 20,000 bytes are missing"), ProteinsLmdb(path):
        pass


def test_values_are_the_json_that_others_read(tmp_path):
    with lmdb.open(str(write(tmp_path / "x.lmdb", ["MKT"])), subdir=False) as env, env.begin() as transaction:
        assert json.loads(transaction.get(b"0")) == {"sequence": "MKT", "id": "id0"}
