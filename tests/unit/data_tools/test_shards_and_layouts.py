import json
import struct
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.datasets.indexed_dataset import IndexedDataset

from d2plm_megatron.proteins.alphabet import RESIDUE_LETTERS, decode
from data_tools import merge
from data_tools.formats.lmdb_values import Layout
from data_tools.formats.lmdb_writer import LmdbWriter, to_value
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.lmdb_to_indexed import Shard, convert, main, parse_shard, shard_prefix
from data_tools.preparation.raw_blocks import blocks_of


def database_of(path: Path, items: list[tuple[bytes, bytes]]) -> Path:
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as transaction:
        for key, value in items:
            transaction.put(key, value)
    return path


def proteins_of(prefix: Path) -> list[str]:
    dataset = IndexedDataset(str(prefix))
    return [decode(dataset[index]) for index in range(len(dataset))]


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.text(RESIDUE_LETTERS, min_size=1, max_size=20), min_size=1, max_size=3), min_size=1),
    st.integers(1, 6),
)
def test_shards_merge_to_the_bytes_of_one_pass(proteins, num_shards):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LmdbWriter(folder / "x.lmdb") as writer:
            for chunks in proteins:
                parts = [(number, len(chunks)) for number in range(1, len(chunks) + 1)]
                whole = [None] if len(chunks) == 1 else parts
                writer.add_values(to_value("p", c, part) for c, part in zip(chunks, whole, strict=True))
        convert(folder / "x.lmdb", folder / "x")
        prefixes = []
        for shard in (Shard(number, num_shards) for number in range(1, num_shards + 1)):
            try:
                convert(folder / "x.lmdb", shard_prefix(folder / "y", shard), shard=shard)
                prefixes.append(shard_prefix(folder / "y", shard))
            except ValueError as error:
                assert "no protein to write" in str(error)  # more shards than proteins
        with merge.IndexedWriter(folder / "y") as merged:
            for prefix in prefixes:
                merged.append(prefix)
        for ending in (".bin", ".idx"):
            assert (folder / f"x{ending}").read_bytes() == (folder / f"y{ending}").read_bytes()
        dataset = IndexedDataset(str(folder / "x"))  # what it gives is mapped, and gone with it
        assert dataset.document_indices[1:].tolist() == [sum(map(len, proteins[: n + 1])) for n in range(len(proteins))]


def test_the_commands_of_a_cluster(command, tmp_path):
    with LmdbWriter(tmp_path / "x.lmdb") as writer:
        for number in range(1000):
            writer.add(f"p{number}", "MKTVRQG"[: number % 7 + 1])
    convert(tmp_path / "x.lmdb", tmp_path / "x")
    for number in (1, 2, 3):
        words = ("--input", tmp_path / "x.lmdb", "--output", tmp_path / "y", "--shard", f"{number}/3")
        assert command(main, *words)[0] == 0
    code, out, _ = command(merge.main, "--output", tmp_path / "y", "--shards", 3)
    assert code == 0 and "1,000" in out
    assert (tmp_path / "x.idx").read_bytes() == (tmp_path / "y.idx").read_bytes()
    (tmp_path / "y-2-of-3.bin").unlink()
    code, _, err = command(merge.main, "--output", tmp_path / "z", "--shards", 3)
    assert code == 2 and "y-2-of-3" not in err and "z-1-of-3.bin is missing" in err


def three_shards(folder: Path) -> list[Path]:
    with LmdbWriter(folder / "x.lmdb") as writer:
        for number in range(30):
            writer.add(f"p{number}", "MKTVRQG"[: number % 7 + 1])
    prefixes = [shard_prefix(folder / "y", Shard(number, 3)) for number in (1, 2, 3)]
    for number, prefix in enumerate(prefixes, start=1):
        convert(folder / "x.lmdb", prefix, shard=Shard(number, 3))
    return prefixes


def lengths_that_fit(prefix: Path) -> None:
    """A residue of a protein goes to the next one: all that is in the .idx fits."""
    path = Path(f"{prefix}.idx")
    data = bytearray(path.read_bytes())
    for place, kind, change in ((34 + 4, "<i", -1), (34 + 8, "<i", 1), (34 + 40 + 16, "<q", -1)):
        struct.pack_into(kind, data, place, struct.unpack_from(kind, data, place)[0] + change)
    path.write_bytes(data)


def a_length(prefix: Path) -> None:
    path = Path(f"{prefix}.idx")
    path.write_bytes(path.read_bytes()[:38] + b"\x07" + path.read_bytes()[39:])


def a_residue(prefix: Path) -> None:
    path = Path(f"{prefix}.bin")
    path.write_bytes(path.read_bytes()[:-1] + b"\x05")


def no_residue(prefix: Path) -> None:
    path = Path(f"{prefix}.bin")
    path.write_bytes(b"\x00" + path.read_bytes()[1:])


def without_checksums(prefix: Path) -> None:
    Path(f"{prefix}.checksums.json").unlink()


@pytest.mark.parametrize(
    ("damages", "message"),
    [
        ([a_length], "y-2-of-3.idx: the entry of protein 1, or of the next, is damaged"),
        ([a_length, without_checksums], "y-2-of-3.idx: the entry of protein 1, or of the next, is damaged"),
        ([no_residue, without_checksums], "y-2-of-3.bin: protein 0, position 1: id 0 (<cls>) is no residue"),
        ([a_residue], "y-2-of-3.bin is not what was written, as y-2-of-3.checksums.json says"),
        ([lengths_that_fit], "y-2-of-3.idx is not what was written, as y-2-of-3.checksums.json says"),
    ],
)
def test_a_damaged_shard_is_not_merged(refused, tmp_path, damages, message):
    prefixes = three_shards(tmp_path)
    for damage in damages:
        damage(prefixes[1])
    assert message in refused(merge.main, "--output", tmp_path / "y", "--shards", 3)


def test_shards_without_checksums_are_merged_as_those_with(command, tmp_path):
    for prefix in three_shards(tmp_path):
        without_checksums(prefix)
    assert command(merge.main, "--output", tmp_path / "y", "--shards", 3)[0] == 0
    convert(tmp_path / "x.lmdb", tmp_path / "x")
    for ending in ("bin", "idx", "checksums.json"):
        assert (tmp_path / f"x.{ending}").read_bytes() == (tmp_path / f"y.{ending}").read_bytes()


def test_a_shard_is_no_output_by_whatever_path(refused, tmp_path):
    one, two, _ = three_shards(tmp_path)
    (tmp_path / "d").mkdir()
    words = ("--input", one, two, "--output")
    for output in (one, tmp_path / "d" / ".." / two.name):
        assert "read or written by this command" in refused(merge.main, *words, output)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_refuses_bad_shards(text):
    with pytest.raises(ValueError, match="expected i/n"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("layout", "items"),
    [
        (Layout(values="raw"), [(b"%d" % n, b"M" + b"K" * n) for n in range(12)]),
        (Layout(field="primary"), [(b"%d" % n, json.dumps({"primary": "M" + "K" * n}).encode()) for n in range(12)]),
        (Layout(values="raw", keys="stored"), [(struct.pack(">q", n), b"M" + b"K" * n) for n in range(300)]),
        (Layout(values="raw", keys="stored"), [(b"%08d" % n, b"M" + b"K" * n) for n in range(12)]),
    ],
    ids=["raw", "other field", "binary keys", "padded keys"],
)
def test_reads_other_layouts_in_numeric_order(tmp_path, layout, items):
    convert(database_of(tmp_path / "x.lmdb", items), tmp_path / "x", layout)
    assert proteins_of(tmp_path / "x") == ["M" + "K" * n for n in range(len(items))]


@pytest.mark.parametrize(
    "value",
    [
        b'{"sequence": "MK\\u0054"}',
        b'{"sequence": "A", "sequence": "MKT"}',
        b'{"sequence":"MKT"}',
        b'{"id": "p", "sequence": "MKT"}',
        b' {"sequence": "MKT", "id": "a\\"b"}\n',
        '{"sequence": "MKT", "id": "\u00df"}'.encode(),
    ],
)
def test_values_that_json_reads_are_read_as_json_reads_them(tmp_path, value):
    items = [(b"0", b'{"sequence": "GG", "id": "x"}'), (b"1", value)]
    convert(database_of(tmp_path / "x.lmdb", items), tmp_path / "x")
    assert proteins_of(tmp_path / "x") == ["GG", "MKT"]


@pytest.mark.parametrize("value", [b'{"sequence": "MKT"', b'{"sequence": "MKT"} x', b'{"sequence": "M"K"}', b"\xff"])
def test_corrupt_values_are_named_by_key(refused, tmp_path, value):
    database = database_of(tmp_path / "x.lmdb", [(b"0", b'{"sequence": "GG"}'), (b"1", value)])
    assert "key '1': the value is not JSON" in refused(main, "--input", database, "--output", tmp_path / "x")


def test_pickled_values_are_refused_in_any_layout(refused, tmp_path):
    database = database_of(tmp_path / "x.lmdb", [(b"0", b"\x80\x04K\x01.")])
    for more in ((), ("--values", "raw")):
        line = refused(main, "--input", database, "--output", tmp_path / "x", *more)
        assert "key '0': the value is pickled" in line


def test_reading_goes_on_when_the_map_is_closed_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr("data_tools.formats.proteins_lmdb._MAPPED_BYTES", 100)
    monkeypatch.setattr("data_tools.formats.proteins_lmdb._RECORDS_AT_ONCE", 7)
    items = [(b"%08d" % n, b"M" + b"K" * n) for n in range(100)]
    for keys, path in (("stored", tmp_path / "x.lmdb"), ("numbers", tmp_path / "y.lmdb")):
        named = items if keys == "stored" else [(b"%d" % n, value) for n, (_, value) in enumerate(items)]
        with ProteinsLmdb(database_of(path, named), Layout(values="raw", keys=keys)) as proteins:
            assert [len(record.sequence) for record in proteins.records(3, 95)] == list(range(4, 96))


def test_blocks_of_stored_keys_know_where_they_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("data_tools.preparation.raw_blocks._BLOCK_RECORDS", 7)
    items = [(b"%08d" % (3 * n), b"M" + b"K" * n) for n in range(30)]
    database = database_of(tmp_path / "x.lmdb", items)
    blocks = list(blocks_of(database, Layout(values="raw", keys="stored")))
    assert [block.before for block in blocks] == [None, *(items[n][0] for n in (6, 13, 20, 27))]
    assert [record for block in blocks for record in block.records()] == [(k.decode(), v.decode()) for k, v in items]
    with ProteinsLmdb(database, Layout(values="raw", keys="stored")) as proteins:
        no_walk = proteins.records(10**12, 10**12 + 2, before=items[4][0])  # to that place it would take hours
        assert [record.key for record in no_walk] == [key.decode() for key, _ in items[5:7]]
