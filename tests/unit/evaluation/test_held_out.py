"""Held-out proteins as they are read: whole, in the same parts from every kind of file."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.evaluation.held_out import read_held_out, unigram_perplexity
from d2plm_megatron.proteins import alphabet

SIZES = {"window": 8, "tokens_per_pack": 30}


@pytest.fixture
def fasta(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "x.fasta").write_text(text)
        return str(tmp_path / "x.fasta")

    return write


def test_what_is_scored(fasta) -> None:
    found = read_held_out(fasta(">a first\nmktvXr\n>none\nXXBZ\n>b\nLAGVSERTIDPKQNFYMHWC\n"), **SIZES)
    assert found.ids == ("a", "b")
    assert found.sequences == ("MKTVXR", "LAGVSERTIDPKQNFYMHWC")
    assert (found.num_residues, found.num_unscored, found.num_too_long) == (25, 1, 0)
    assert found.protein_of_part.tolist() == [0, 1, 1, 1, 1]
    assert len(found.protein_of_part) == sum(len(pack.lengths_S) for pack in found.packs)


def test_chunks_of_a_dataset_are_one_protein_again(tmp_path: Path, fasta) -> None:
    with IndexedWriter(tmp_path / "cut") as writer:
        for letters, continues in (("MKTVR", False), ("QGLLA", True), ("WYV", False)):
            writer.add(alphabet.encode(letters), continues)
    cut = read_held_out(str(tmp_path / "cut"), **SIZES)
    whole = read_held_out(fasta(">0\nMKTVRQGLLA\n>1\nWYV\n"), **SIZES)
    assert (cut.ids, cut.sequences) == (whole.ids, whole.sequences) == (("0", "1"), ("MKTVRQGLLA", "WYV"))
    assert all((one.tokens_T == two.tokens_T).all() for one, two in zip(cut.packs, whole.packs, strict=True))


def test_a_sample_is_always_the_same_and_in_order(write_proteins, fasta) -> None:
    prefix = str(write_proteins([10] * 50))
    everything = read_held_out(prefix, **SIZES)
    few = read_held_out(prefix, max_proteins=6, **SIZES)
    assert len(few.ids) == 6 and list(map(int, few.ids)) == sorted(map(int, few.ids))
    assert few.sequences == tuple(everything.sequences[int(name)] for name in few.ids)
    assert few.ids != everything.ids[:6]
    named = zip(everything.ids, everything.sequences, strict=True)
    same = fasta("".join(f">{name}\n{letters}\n" for name, letters in named))
    assert read_held_out(same, max_proteins=6, **SIZES).ids == few.ids


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (">good\nMKT\n>masked\nM_T\n", {}, r"x\.fasta, record masked: '_' at position 2 is no residue"),
        (">good\nMKT\n>odd\nM?T\n", {}, r"x\.fasta, record odd: '\?' at position 2 is no residue"),
        (">a\nMKTV\n>b\nMKTVL\n", {"max_length": 3}, r"max_length=3: shorter than all of .*x\.fasta, 2 proteins"),
        (">a\nXX\n", {}, r"x\.fasta: nothing to score: no canonical residue in 1 protein of it"),
        ("", {}, "empty, no record in it"),
    ],
)
def test_what_cannot_be_scored(text: str, options: dict[str, int], told: str, fasta) -> None:
    with pytest.raises(ValueError, match=told):
        read_held_out(fasta(text), **SIZES, **options)


def test_unigram_perplexity_by_hand(pack_of):
    packs = [pack_of("LLAX", ends=True), pack_of("LB")]  # L three times, A once; X and B do not count
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert unigram_perplexity(packs) == pytest.approx(expected)
    assert unigram_perplexity([pack_of(alphabet.CANONICAL_LETTERS)]) == pytest.approx(20)
