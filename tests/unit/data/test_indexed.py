import json
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data import index, indexed
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import RESIDUE_LETTERS, SIZE, encode

SEQUENCES = ["MKTVRQG", "L", "ACDEFGHIKLMNPQRSTVWYXBUZO", "GGGG"]
HEADER_BYTES = 34

proteins_lists = st.lists(st.text(RESIDUE_LETTERS, min_size=1, max_size=40), min_size=1, max_size=12)


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Pieces of 3 proteins and 8 residues, so that small data cross their borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_ENTRIES_AT_ONCE", 3)
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
        (".idx", HEADER_BYTES + 4, struct.pack("<i", 0), "entry of protein 1, or of the next, is damaged"),
        (".idx", HEADER_BYTES + 4, struct.pack("<i", -2), "entry of protein 1, or of the next, is damaged"),
        (".idx", HEADER_BYTES + 16 + 16, struct.pack("<q", 9), "entry of protein 1, or of the next, is damaged"),
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


@pytest.fixture(scope="module")
def twelve(tmp_path_factory) -> Path:
    """Twelve sequences in seven documents."""
    prefix = tmp_path_factory.mktemp("tampered") / "p"
    with IndexedWriter(prefix) as writer:
        for number, sequence in enumerate(SEQUENCES * 3):
            writer.add(encode(sequence), continues=number % 5 in (2, 3))
    return prefix


def drawn(proteins: IndexedProteins, chosen: list[int]) -> list[object]:
    """All that is asked of the index when these are drawn."""
    numbers = np.array(chosen)
    lengths, offsets = proteins.checked(numbers)
    ids = [proteins.residues[start : start + length].tolist() for start, length in zip(offsets, lengths, strict=True)]
    return [ids, proteins.begins_protein(numbers).tolist(), proteins.ends_protein(numbers).tolist()]


def is_refused_or_harmless(prefix: Path, place: int, new: bytes) -> bool:
    """Whether an index with these bytes at a place is refused; what is drawn and not refused is what it was."""
    idx_path = Path(f"{prefix}.idx")
    before, expected = idx_path.read_bytes(), [drawn(IndexedProteins(prefix), [n]) for n in range(12)]
    refused = 0
    try:
        patch_bytes(idx_path, place, new)
        proteins = IndexedProteins(prefix)
        for number in range(12):
            try:
                assert drawn(proteins, [number]) == expected[number]
            except ValueError as error:
                assert f"{idx_path}: the entry of " in str(error)
                refused += 1
        if refused:
            with pytest.raises(ValueError, match="the entry of "):
                drawn(proteins, list(range(12)))
    except ValueError as error:
        assert str(idx_path) in str(error)
        refused = 12
    finally:
        idx_path.write_bytes(before)
    return refused > 0


LENGTHS, OFFSETS, DOCUMENTS = HEADER_BYTES, HEADER_BYTES + 4 * 12, HEADER_BYTES + 12 * 12
near = st.integers(-40, 40) | st.sampled_from([2**31 - 1, -(2**31)])
far = near | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=250)
@given(st.data(), st.integers(0, 11), st.booleans())
def test_a_length_or_an_offset_that_changed_is_refused_when_it_is_drawn(twelve, data, number, is_length):
    start, kind, values = (LENGTHS, "<i", near) if is_length else (OFFSETS, "<q", far)
    place, new = start + number * struct.calcsize(kind), struct.pack(kind, data.draw(values))
    changes = Path(f"{twelve}.idx").read_bytes()[place : place + len(new)] != new
    assert is_refused_or_harmless(twelve, place, new) == changes


@settings(max_examples=150)
@given(st.data(), st.integers(1, 6))
def test_a_document_boundary_that_does_not_rise_is_refused_when_it_is_drawn(twelve, data, number):
    bounds = np.frombuffer(Path(f"{twelve}.idx").read_bytes()[DOCUMENTS:], dtype="<i8")
    low, high = int(bounds[number - 1]), int(bounds[number + 1])
    new = data.draw(st.integers(-(2**63), low) | st.integers(high, 2**63 - 1) | st.sampled_from([low, high]))
    assert is_refused_or_harmless(twelve, DOCUMENTS + 8 * number, struct.pack("<q", new))


CHECKSUM_DAMAGES = {
    "no JSON": (lambda text: text[:-5], "checksums.json is damaged"),
    "empty": (lambda text: "", "checksums.json is damaged"),
    "other JSON": (lambda text: "[1]", "checksums.json is damaged"),
    "nested": (lambda text: "[" * 100_000, "checksums.json is damaged"),
    "another version": (lambda text: text.replace('"version": 1', '"version": 2'), "checksums.json is damaged"),
    "no checksum": (lambda text: text.replace('"blake2b": "', '"blake2b": "x'), "checksums.json is damaged"),
    "another size": (
        lambda text: text.replace('"bytes": 37', '"bytes": 38'),
        r"is of other data: 38 bytes, where .*p\.bin",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHECKSUM_DAMAGES.values(), ids=CHECKSUM_DAMAGES.keys())
def test_checksums_that_are_damaged_or_of_other_data_are_named(tmp_path, change, message):
    path = Path(f"{write(tmp_path / 'p', SEQUENCES)}.checksums.json")
    path.write_text(change(path.read_text()))
    proteins = IndexedProteins(tmp_path / "p")
    for ask in (proteins.verify, proteins.identity):
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(ValueError, match=message), IndexedWriter(tmp_path / "q") as writer:
        writer.append(tmp_path / "p")
    assert not list(tmp_path.glob("q*"))


def other_residue(prefix: Path) -> None:
    patch_bytes(Path(f"{prefix}.bin"), 3, bytes(encode("W")))


def residue_moved_to_the_next_protein(prefix: Path) -> None:
    patch_bytes(Path(f"{prefix}.idx"), HEADER_BYTES, struct.pack("<ii", 6, 2))
    patch_bytes(Path(f"{prefix}.idx"), HEADER_BYTES + 16 + 8, struct.pack("<q", 6))


@pytest.mark.parametrize(("damage", "ending"), [(other_residue, "bin"), (residue_moved_to_the_next_protein, "idx")])
def test_checksums_find_what_is_other_and_no_less_valid(tmp_path, damage, ending):
    before = IndexedProteins(write(tmp_path / "p", ["MKTVRQG", "L", "GG", "AVAV"])).identity()
    damage(tmp_path / "p")
    proteins = IndexedProteins(tmp_path / "p")
    message = rf"p\.{ending} is not what was written, as p\.checksums\.json says"
    with pytest.raises(ValueError, match=message):
        proteins.verify()
    with pytest.raises(ValueError, match=message), IndexedWriter(tmp_path / "q") as writer:
        writer.append(tmp_path / "p")
    assert not list(tmp_path.glob("*q*"))
    assert proteins.identity()["sample"] != before["sample"]


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
