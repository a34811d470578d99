"""The way from letters, files and lengths to packs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_fasta


def letters_of(packed) -> list[str]:
    """Every protein of the packs, end tokens and all, in their order."""
    return [
        alphabet.decode(part.numpy()) for pack in packed.packs for part in pack.tokens_T.split(list(pack.lengths_S))
    ]


def test_blanks_are_masks_to_be_filled() -> None:
    [pack] = pack_sequences([2, 1]).packs
    assert alphabet.decode(pack.tokens_T.numpy()) == "<cls><mask><mask><eos><cls><mask><eos>"
    assert pack.positions_T.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert pack.sequence_T.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert pack.scored_T.tolist() == [False, True, True, False, False, True, False]
    assert pack.sample_ids_S.tolist() == pack.stream_index_S.tolist() == [0, 1]
    assert pack.lengths_S == (4, 3)


def test_letters_masks_and_ids() -> None:
    packed = pack_sequences(["mkX", ("P1", "L_A"), 1])
    assert packed.ids == ("sequence_1", "P1", "sequence_3")
    assert letters_of(packed) == ["<cls>MKX<eos>", "<cls>L<mask>A<eos>", "<cls><mask><eos>"]
    [pack] = packed.packs
    assert "".join(str(int(scored)) for scored in pack.scored_T) == "01100" + "00100" + "010"
    assert pack.tokens_T.dtype == pack.positions_T.dtype == pack.sample_ids_S.dtype == torch.int64


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(32, 80))
def test_order_is_kept_and_packs_are_filled(lengths: list[int], capacity: int) -> None:
    proteins = ["LAGVSERTIDPKQNFYMHWC"[number % 20] * length for number, length in enumerate(lengths)]
    packed = pack_sequences(proteins, capacity)
    assert letters_of(packed) == [f"<cls>{protein}<eos>" for protein in proteins]
    assert [int(number) for pack in packed.packs for number in pack.sample_ids_S] == list(range(len(lengths)))
    sizes = [len(pack.tokens_T) for pack in packed.packs]
    assert all(size <= capacity for size in sizes)
    assert all(size + pack.lengths_S[0] > capacity for size, pack in zip(sizes, packed.packs[1:], strict=False))


def test_from_fasta_and_from_an_indexed_dataset(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "few.fasta").write_text(">P1 a protein\nMKT\nLA\n>P2\nGG\n")
    packed = pack_sequences(read_fasta(tmp_path / "few.fasta"))
    assert (packed.ids, letters_of(packed)) == (("P1", "P2"), ["<cls>MKTLA<eos>", "<cls>GG<eos>"])
    proteins = IndexedProteins(write_proteins([5, 9, 3]))
    packed = pack_sequences(proteins, tokens_per_pack=16)
    assert packed.ids == ("0", "1", "2")
    assert letters_of(packed) == [f"<cls>{alphabet.decode(proteins[i])}<eos>" for i in range(3)]
    assert [len(pack.tokens_T) for pack in packed.packs] == [7, 16]


def test_long_proteins_are_cropped_on_request_alone() -> None:
    with pytest.raises(ValueError, match=r"^P1: 30 residues, and 14 fit: give tokens_per_pack=32, or a part of it"):
        pack_sequences([("P1", "M" * 30)], 16)
    packed = pack_sequences(["M" * 30, "L"], 16, crop=True)
    assert letters_of(packed) == ["<cls>" + "M" * 14, "<cls>L<eos>"]  # whose end is not the protein's
    assert len(pack_sequences([30], 16, max_residues=30).packs[0].tokens_T) == 32


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ([("P1", "MK"), ("P2", "MJT")], r"^P2: 'J' at position 2 is no residue .*; _ is a mask$"),
        (["MK", "M*"], r"^sequence_2: '\*' at position 2"),
        (["ß"], r"^sequence_1: 'ß' at position 1"),
        (["MK", ""], r"^sequence_2: no residues in it; leave it out$"),
        ([0], r"^sequence_1: no residues"),
        ("MKTV", r"^MKTV: a single protein; give a list"),
        ([np.array([4, 5])], r"^sequence_1: ndarray instead of letters"),
    ],
)
def test_what_is_no_protein_is_named(given_, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_sequences(given_)


def test_a_damaged_dataset_is_named(write_proteins: Callable[..., Path]) -> None:
    prefix = write_proteins([5, 9])
    data = bytearray(prefix.with_suffix(".bin").read_bytes())
    data[6] = alphabet.MASK
    prefix.with_suffix(".bin").write_bytes(data)
    with pytest.raises(ValueError, match=r"protein 1, position 2: id 32 \(<mask>\) is no residue"):
        pack_sequences(IndexedProteins(prefix))


def test_nothing_gives_nothing() -> None:
    packed = pack_sequences([])
    assert packed.ids == packed.packs == ()
