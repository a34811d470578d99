"""Whatever is damaged in an indexed dataset is named when it is opened, drawn from or verified."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import encode
from tests.indexed_files import HEADER_BYTES, SEQUENCES, patch_bytes, write

pytestmark = pytest.mark.usefixtures("small_pieces")


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
