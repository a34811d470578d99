import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.alphabet import RESIDUE_LETTERS, SIZE, encode
from d2plm_megatron.data import indexed
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter

SEQUENCES = ["MKTVRQG", "L", "ACDEFGHIKLMNPQRSTVWYXBUZO", "GGGG"]
HEADER_BYTES = 34

proteins_lists = st.lists(st.text(RESIDUE_LETTERS, min_size=1, max_size=40), min_size=1, max_size=12)


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Pieces of 3 proteins and 8 residues, so that small data cross their borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexed, "_PROTEINS_AT_ONCE", 3)
        patch.setattr(indexed, "_RESIDUES_AT_ONCE", 8)
        yield


def write(prefix: Path, sequences: list[str]) -> Path:
    with IndexedWriter(prefix) as writer:
        for sequence in sequences:
            writer.add(encode(sequence))
    return prefix


def patch_bytes(path: Path, offset: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(new)] = new
    path.write_bytes(bytes(data))


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
        assert proteins.lengths.dtype == np.int32 and proteins.offsets.dtype == np.int64
        assert list(proteins.lengths) == [len(ids) for ids in expected]
        assert list(proteins.offsets) == list(np.cumsum([0, *map(len, expected)])[:-1])
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


def cut(ending: str, num_bytes: int) -> Callable[[Path], None]:
    def damage(prefix: Path) -> None:
        path = Path(f"{prefix}{ending}")
        path.write_bytes(path.read_bytes()[:-num_bytes])

    return damage


def overwrite(offset: int, new: bytes) -> Callable[[Path], None]:
    return lambda prefix: patch_bytes(Path(f"{prefix}.idx"), offset, new)


def remove(ending: str) -> Callable[[Path], None]:
    return lambda prefix: Path(f"{prefix}{ending}").unlink()


def extend_bin(prefix: Path) -> None:
    Path(f"{prefix}.bin").write_bytes(Path(f"{prefix}.bin").read_bytes() + b"\x05\x06")


def index_of_other_data(prefix: Path) -> None:
    write(prefix.with_name("other"), [*SEQUENCES, "MK"])
    Path(f"{prefix}.idx").write_bytes(prefix.with_name("other.idx").read_bytes())


def empty_index(prefix: Path) -> None:
    Path(f"{prefix}.idx").write_bytes(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 1, 0, 1) + struct.pack("<q", 0))


DAMAGES = {
    "bin cut": (cut(".bin", 3), r"p\.bin has 34 bytes .* describes 37: 3 are missing; convert the data again"),
    "bin too long": (extend_bin, r"p\.bin has 39 bytes .* describes 37: 2 too many"),
    "bin empty": (cut(".bin", 37), "37 are missing"),
    "bin missing": (remove(".bin"), r"p\.bin is missing .*without \.bin or \.idx"),
    "idx missing": (remove(".idx"), r"p\.idx is missing"),
    "idx cut": (cut(".idx", 8), r"p\.idx has 114 bytes, but an index of 4 sequences in 4 documents has 122"),
    "idx cut in its header": (cut(".idx", 100), "no index of a Megatron dataset, or is cut off"),
    "idx of other data": (index_of_other_data, "2 are missing"),
    "idx empty": (empty_index, "the dataset is empty"),
    "other magic": (overwrite(0, b"NOTINDEX"), "no index of a Megatron dataset"),
    "other version": (overwrite(9, b"\x02"), "format version 2; only version 1"),
    "other type": (overwrite(17, b"\x04"), "holds int32, but proteins are stored as uint8"),
    "unknown type": (overwrite(17, b"\x63"), "holds type code 99"),
    "other count of proteins": (
        overwrite(18, struct.pack("<QQ", 5, 6)),
        "an index of 5 sequences in 5 documents has 142",
    ),
    "other count of documents": (overwrite(26, struct.pack("<Q", 3)), "4 sequences in 2 documents has 106"),
    "more documents than sequences": (overwrite(18, struct.pack("<QQ", 2, 8)), "2 sequences in 7 documents has 122"),
    "first offset": (overwrite(HEADER_BYTES + 16, b"\x01"), "damaged"),
    "last document": (overwrite(HEADER_BYTES + 48 + 32, b"\x03"), "damaged"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_seen_on_opening(tmp_path, damage, message):
    damage(write(tmp_path / "p", SEQUENCES))
    with pytest.raises((ValueError, OSError), match=message):
        IndexedProteins(tmp_path / "p")


@pytest.mark.parametrize(
    ("ending", "offset", "new", "message"),
    [
        (".bin", 7 + 1 + 11, b"\x1e", r"protein 2, position 12: id 30 \(-\) is no residue"),
        (".bin", 36, b"\xc8", "protein 3, position 4: id 200 is no residue"),
        (".bin", 0, b"\x03", r"protein 0, position 1: id 3 \(<unk>\)"),
        (".idx", HEADER_BYTES + 4, struct.pack("<i", 0), "entry of protein 1 is damaged"),
        (".idx", HEADER_BYTES + 4, struct.pack("<i", -2), "entry of protein 1 is damaged"),
        (".idx", HEADER_BYTES + 16 + 16, struct.pack("<q", 9), "entry of protein 2 is damaged"),
        (".idx", HEADER_BYTES + 48 + 16, struct.pack("<q", 7), "entry of document 2 is damaged"),
    ],
)
def test_damage_inside_is_seen_by_verify(tmp_path, ending, offset, new, message):
    patch_bytes(Path(f"{write(tmp_path / 'p', SEQUENCES)}{ending}"), offset, new)
    proteins = IndexedProteins(tmp_path / "p")
    with pytest.raises(ValueError, match=message):
        proteins.verify()


def test_verify_tells_its_progress(tmp_path):
    told: list[int] = []
    IndexedProteins(write(tmp_path / "p", SEQUENCES)).verify(told.append)
    assert sum(told) == 37 and len(told) > 1


def test_tens_of_millions_of_proteins_open(tmp_path):
    num, last = 65_000_000, 5_000_000_000  # sparse files: what lies between the ends is never read
    with Path(tmp_path, "p.idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 1, num, num + 1))
        for offset, value in ((HEADER_BYTES + 4 * num - 4, struct.pack("<i", 3)), (HEADER_BYTES + 12 * num - 8, None)):
            file.seek(offset)
            file.write(value or struct.pack("<q", last))
        file.seek(HEADER_BYTES + 20 * num)
        file.write(struct.pack("<q", num))
    with Path(tmp_path, "p.bin").open("wb") as file:
        file.seek(last)
        file.write(bytes(encode("MKT")))
    proteins = IndexedProteins(tmp_path / "p")
    assert len(proteins) == num
    assert np.array_equal(proteins[num - 1], encode("MKT"))


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
