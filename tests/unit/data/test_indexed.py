import json
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import RESIDUE_LETTERS, SIZE, encode
from tests.indexed_files import HEADER_BYTES, SEQUENCES, write

pytestmark = pytest.mark.usefixtures("small_pieces")

proteins_lists = st.lists(st.text(RESIDUE_LETTERS, min_size=1, max_size=40), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(proteins_lists, st.booleans())
def test_same_bytes_as_megatron_and_readable_by_it(sequences, by_item):
    import torch  # here, because the other tests of this file need neither
    from megatron.core.datasets import indexed_dataset as megatron

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = write(Path(folder, "ours"), sequences), Path(folder, "theirs")
        builder = megatron.IndexedDatasetBuilder(f"{theirs}.bin", dtype=np.uint8)
        for ids in map(encode, sequences):
            if by_item:
                builder.add_item(torch.tensor(ids))
                builder.end_document()
            else:
                builder.add_document(ids, [len(ids)])
        builder.finalize(f"{theirs}.idx")
        for ending in (".bin", ".idx"):
            assert Path(f"{ours}{ending}").read_bytes() == Path(f"{theirs}{ending}").read_bytes()
        read_by_megatron = megatron.IndexedDataset(str(ours))
        assert [list(ids) for ids in read_by_megatron] == [list(encode(sequence)) for sequence in sequences]


@settings(max_examples=40, deadline=None)
@given(proteins_lists)
def test_reads_what_was_written(sequences):
    with tempfile.TemporaryDirectory() as folder:
        proteins = IndexedProteins(write(Path(folder, "p"), sequences))
        expected = [encode(sequence) for sequence in sequences]
        assert len(proteins) == len(expected)
        for number, ids in enumerate(expected):
            assert proteins[number].dtype == np.uint8
            assert np.array_equal(proteins[number], ids)
        lengths, offsets = map(np.concatenate, zip(*proteins.pieces(), strict=True))
        assert lengths.dtype == offsets.dtype == np.int64
        assert list(lengths) == [len(ids) for ids in expected]
        assert list(offsets) == list(np.cumsum([0, *map(len, expected)])[:-1])
        some = np.arange(len(expected))[::-2]
        assert all((a == b[some]).all() for a, b in zip(proteins.checked(some), (lengths, offsets), strict=True))
        assert np.array_equal(proteins.residues, np.concatenate(expected))
        assert np.array_equal(proteins.verify(), np.bincount(np.concatenate(expected), minlength=SIZE))


@settings(max_examples=40, deadline=None)
@given(st.lists(proteins_lists.map(lambda chunks: chunks[:4]), min_size=1, max_size=8))
def test_documents_of_several_chunks_are_those_of_megatron(documents):
    from megatron.core.datasets import indexed_dataset as megatron

    chunks = [chunk for document in documents for chunk in document]
    is_first = [number == 0 for document in documents for number, _ in enumerate(document)]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        with IndexedWriter(ours) as writer:
            for chunk, first in zip(chunks, is_first, strict=True):
                writer.add(encode(chunk), continues=not first)
        builder = megatron.IndexedDatasetBuilder(f"{theirs}.bin", dtype=np.uint8)
        for document in documents:
            builder.add_document(encode("".join(document)), [len(chunk) for chunk in document])
        builder.finalize(f"{theirs}.idx")
        for ending in (".bin", ".idx"):
            assert Path(f"{ours}{ending}").read_bytes() == Path(f"{theirs}{ending}").read_bytes()
        proteins = IndexedProteins(theirs)
        proteins.verify()
        everyone = np.arange(len(proteins))
        assert proteins.num_documents == len(documents)
        assert proteins.begins_protein(everyone).tolist() == is_first
        assert proteins.ends_protein(everyone).tolist() == [*is_first[1:], True]


def test_residues_cannot_be_changed_and_indices_end(tmp_path):
    proteins = IndexedProteins(write(tmp_path / "p", SEQUENCES))
    with pytest.raises(ValueError, match="read-only"):
        proteins[0][0] = 5
    assert np.array_equal(proteins[-1], encode("GGGG"))
    with pytest.raises(IndexError):
        proteins[len(SEQUENCES)]


def test_verify_tells_its_progress(tmp_path):
    told: list[int] = []
    IndexedProteins(write(tmp_path / "p", SEQUENCES)).verify(told.append)
    assert sum(told) == 37 and len(told) > 1


def test_tens_of_millions_of_proteins_open(tmp_path):
    num, last = 65_000_000, 5_000_000_000  # sparse files: what lies between the ends is never read
    entries = [
        (4 * num - 4, "<i", 3),
        (12 * num - 16, "<q", last - 5),
        (12 * num - 8, "<q", last),
        (4 * num - 8, "<i", 5),
    ]
    with Path(tmp_path, "p.idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 1, num, num + 1))
        for offset, kind, value in entries:
            file.seek(HEADER_BYTES + offset)
            file.write(struct.pack(kind, value))
        file.seek(HEADER_BYTES + 20 * num)
        file.write(struct.pack("<q", num))
    with Path(tmp_path, "p.bin").open("wb") as file:
        file.seek(last)
        file.write(bytes(encode("MKT")))
    proteins = IndexedProteins(tmp_path / "p")
    assert len(proteins) == num
    assert np.array_equal(proteins[num - 1], encode("MKT")) and len(proteins[num - 2]) == 5
    with pytest.raises(ValueError, match="entry of protein 7, or of the next, is damaged"):
        proteins[7]
    assert proteins.identity() == proteins.identity()


def test_looking_up_a_few_of_many_copies_no_more(tmp_path):
    """Functions of numpy that need aligned memory would copy all entries, 500 MB."""
    num = 65_000_000
    with Path(tmp_path, "p.idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 1, num, num))
        file.seek(HEADER_BYTES + 4 * num - 4)
        file.write(struct.pack("<i", 3))
        file.seek(HEADER_BYTES + 20 * num - 8)
        file.write(struct.pack("<q", num))
    Path(tmp_path, "p.bin").write_bytes(bytes(encode("MKT")))
    proteins, chosen = IndexedProteins(tmp_path / "p"), np.arange(0, num, num // 100)
    tracemalloc.start()
    with pytest.raises(ValueError, match="a document near protein 0 is damaged"):
        proteins.begins_protein(chosen)
    with pytest.raises(ValueError, match="entry of protein 0"):
        proteins.checked(chosen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("error", [ValueError("bad record"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_failed_write_leaves_the_older_files(tmp_path, error):
    write(tmp_path / "p", SEQUENCES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail() -> None:
        with IndexedWriter(tmp_path / "p") as writer:
            writer.add(encode("MKT"))
            raise error

    with pytest.raises(type(error)):
        fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("ids", [np.array([5, 6]), np.array([], dtype=np.uint8)], ids=["int64", "empty"])
def test_writer_refuses_what_is_no_protein(tmp_path, ids):
    with pytest.raises(ValueError, match="protein 1: "), IndexedWriter(tmp_path / "p") as writer:
        writer.add(encode("MKT"))
        writer.add(ids)
    assert not list(tmp_path.iterdir())


def test_writer_refuses_to_continue_nothing(tmp_path):
    with pytest.raises(ValueError, match="none before it"), IndexedWriter(tmp_path / "p") as writer:
        writer.add(encode("MKT"), continues=True)
    assert not list(tmp_path.iterdir())


def test_writer_refuses_an_empty_dataset(tmp_path):
    with pytest.raises(ValueError, match="no protein to write"), IndexedWriter(tmp_path / "p"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_files_that_are_read_hold_no_more_than_megatron_wrote(tmp_path):
    """Without checksums beside them, and with."""
    proteins = IndexedProteins(write(tmp_path / "p", SEQUENCES))
    whole = proteins.verify()
    Path(f"{tmp_path / 'p'}.checksums.json").unlink()
    assert (proteins.verify() == whole).all() and proteins.checksums() is None


def test_the_identity_tells_data_of_the_same_sizes_apart(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, 200)
    identities = []
    for name in ("one", "again", "other"):
        generator = np.random.default_rng(len(name) if name == "other" else 1)
        with IndexedWriter(tmp_path / name) as writer:
            for length in lengths:
                writer.add(generator.integers(4, 24, length).astype(np.uint8))
        identities.append(IndexedProteins(tmp_path / name).identity())
    one, again, other = identities
    assert one == again and json.loads(json.dumps(one)) == one
    assert {key for key in one if one[key] != other[key]} == {"sample", "checksum"}
    Path(f"{tmp_path / 'again'}.checksums.json").unlink()
    assert IndexedProteins(tmp_path / "again").identity() == {**one, "checksum": None}
