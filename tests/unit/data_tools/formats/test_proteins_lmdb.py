import json
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.console import one_line
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.proteins.alphabet import decode
from data_tools import lmdb_to_indexed
from data_tools.formats import lmdb_writer
from data_tools.formats.lmdb_values import Layout
from data_tools.formats.lmdb_writer import LmdbWriter
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from tests.damage import lmdb_values


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
        ({"0": GOOD, "P12345": GOOD}, r"key 'P12345': the keys must be '0', '1', ... \(or say --keys stored\)"),
        ({"P12345": GOOD}, "key 'P12345': the keys must be"),
        ({"length": b"1"}, "key 'length': the keys must be"),
        ({f"P{number}": b"1" for number in range(1100)}, "the keys must be"),
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


def test_refuses_what_ends_within_the_first_pages(tmp_path):
    """In a process of its own, which a bus error would end."""
    with LmdbWriter(tmp_path / "x.lmdb") as writer:
        writer.add("p", "MKT")
    whole = (tmp_path / "x.lmdb").read_bytes()
    for size in (1, 40, 4096, 5000, 8191):
        (tmp_path / "cut.lmdb").write_bytes(whole[:size])
        code = "import sys; from data_tools.formats.proteins_lmdb import ProteinsLmdb as P; P(sys.argv[1]).__enter__()"
        command = [sys.executable, "-c", code, tmp_path / "cut.lmdb"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "ValueError" in done.stderr and "cut.lmdb" in done.stderr, (size, done)


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


METADATA = {
    "length": b"2",
    "num_examples": pickle.dumps(2),
    "__len__": b"2",
    "keys": b'["0", "1"]',
    "__keys__": pickle.dumps([b"0", b"1"]),
    "metadata": b'{"source": "UniRef50", "size": {"proteins": 2}}',
}


@pytest.mark.parametrize("keys", ["numbers", "stored"])
@pytest.mark.parametrize("names", [["length"], ["num_examples"], ["__len__", "__keys__"], list(METADATA)])
def test_keys_beside_the_records_are_left_out_and_named(tmp_path, keys, names):
    numbers = {"0": GOOD, "1": b'{"sequence": "GG"}', "2": b'{"sequence": "AV"}'}
    path = database_of(tmp_path, numbers | {name: METADATA[name] for name in names})
    with ProteinsLmdb(path, Layout(keys=keys)) as proteins:
        assert len(proteins) == 3
        assert [record.sequence for record in proteins] == ["MKT", "GG", "AV"]
        assert [record.sequence for record in proteins.records(1, 3)] == ["GG", "AV"]
        assert proteins.last_key(0, 2, None) == b"1" or keys == "numbers"
        said = proteins.left_out()
    assert f"left out {len(names)} keys without a protein" in said and repr(min(names)) in said


def test_raw_values_have_keys_beside_them_too(tmp_path):
    path = database_of(tmp_path, {"0": b"MKT", "1": b"GG", "length": b"2", "__len__": pickle.dumps(2), "name": b"pdb"})
    with ProteinsLmdb(path, Layout(values="raw")) as proteins:
        assert [record.sequence for record in proteins] == ["MKT", "GG"]


def test_a_record_may_have_any_name_in_the_order_of_the_database(tmp_path):
    path = database_of(tmp_path, {"size": GOOD, "__a__": b'{"sequence": "GG"}', "length": b"2"})
    with ProteinsLmdb(path, Layout(keys="stored")) as proteins:
        assert [record.key for record in proteins] == ["__a__", "size"]


def chunk(number: object, total: object, name: str = "P1") -> bytes:
    return json.dumps({"sequence": "MKT", "id": f"{name}/1-9", "part": [number, total]}).encode()


WHOLE = b'{"sequence": "GG", "id": "P2"}'
BAD_PARTS = [
    ["2", 3],
    [None, 2],
    [2],
    [],
    [1, 2, 3],
    [0, 2],
    [3, 2],
    [True, 2],
    [1.0, 2],
    [-1, 2],
    "1/2",
    1,
    {},
    [[1], 2],
]
BROKEN_ORDERS = [
    ([chunk(2, 3), chunk(3, 3)], "key '0': chunk 2 of 3 of 'P1' comes without the chunk before it"),
    ([chunk(1, 3), WHOLE, chunk(3, 3)], "key '1': chunk 1 of 3 of 'P1' is followed by 'P2'"),
    ([chunk(1, 3), chunk(3, 3)], "key '1': chunk 1 of 3 of 'P1' is followed by chunk 3 of 3 of 'P1'"),
    ([chunk(1, 2), chunk(2, 3)], "key '1': chunk 1 of 2 of 'P1' is followed by chunk 2 of 3 of 'P1'"),
    ([chunk(1, 2), chunk(2, 2, "P3")], "key '1': chunk 1 of 2 of 'P1' is followed by chunk 2 of 2 of 'P3'"),
    ([chunk(1, 2), chunk(1, 2)], "key '1': chunk 1 of 2 of 'P1' is followed by chunk 1 of 2"),
    ([WHOLE, chunk(1, 2)], "chunk 1 of 2 of 'P1' is followed by nothing"),
    ([WHOLE, chunk(2, 2)], "key '1': chunk 2 of 2 of 'P1' comes without"),
    *(
        ([WHOLE, json.dumps({"sequence": "M", "part": part}).encode()], "key '1': \"part\" must be")
        for part in BAD_PARTS
    ),
]


@pytest.mark.parametrize(("values", "message"), BROKEN_ORDERS)
def test_chunks_that_are_not_all_there_in_a_row_are_named(command, tmp_path, values, message):
    path = database_of(tmp_path, {str(number): value for number, value in enumerate(values)})
    with pytest.raises(ValueError, match=re.escape(message)), ProteinsLmdb(path) as proteins:
        list(proteins)
    code, _, err = command(lmdb_to_indexed.main, "--input", path, "--output", tmp_path / "x")
    assert code == 2 and message in err and err.count("\n") == 1
    assert not list(tmp_path.glob("x*"))


def test_chunks_need_no_ids_and_one_chunk_is_a_whole_protein(tmp_path):
    parts = [[1, 1], [1, 2], [2, 2], None]
    values = [json.dumps({"sequence": "MKT", "part": part}).encode() for part in parts]
    path = database_of(tmp_path, {str(number): value for number, value in enumerate(values)})
    assert lmdb_to_indexed.convert(path, tmp_path / "x") == (3, 12)


@settings(max_examples=200)
@given(st.lists(lmdb_values, min_size=1, max_size=4), st.sampled_from(["json", "raw"]))
def test_any_value_is_read_as_it_says_or_named(values, kind):
    with tempfile.TemporaryDirectory() as name:
        path = database_of(Path(name), {str(number): value for number, value in enumerate(values)})
        try:
            lmdb_to_indexed.convert(path, Path(name, "x"), Layout(values=kind))
        except ValueError as error:
            assert str(error).startswith(f"{path}") and one_line(str(error))
            assert not list(Path(name).glob("x*"))
            return
        dataset = IndexedProteins(Path(name, "x"))
        dataset.verify()
        found = [decode(dataset[number]) for number in range(len(dataset))]
    assert found == [json.loads(value)["sequence"] if kind == "json" else value.decode() for value in values]
