"""Contigs: their grammar, and the lengths that are drawn for their linkers."""

from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.generation.contigs import Linker, Motif, Segment, parse, render
from d2plm_megatron.generation.scaffolds import Scaffolds, read_motifs

LINKERS = st.tuples(st.integers(0, 99), st.integers(1, 99)).map(lambda two: Linker(two[0], two[0] + two[1]))
MOTIFS = st.tuples(st.sampled_from("ABZ"), st.integers(1, 999), st.integers(0, 99)).map(
    lambda drawn: Motif(drawn[0], drawn[1], drawn[1] + drawn[2])
)
PROTEINS = {"A": "MKTVRQGLLAGVSERTIDPK", "B": "WYWYWYWYWY"}


@given(st.lists(LINKERS | MOTIFS | st.integers(1, 99).map(lambda n: Linker(n, n)), min_size=1, max_size=8))
def test_what_is_rendered_is_parsed_again(segments: list[Segment]) -> None:
    assert parse(render(segments)) == tuple(segments)
    assert parse(f"[{render(segments).replace('/', ',')}]") == tuple(segments)


def test_notations_of_others() -> None:
    expected = (Linker(10, 20), Motif("A", 23, 45), Linker(5, 5), Motif("B", 60, 60))
    for text in ("10-20/A23-45/5/B60-70", "[10-20/A23-45/5-5/B60-70]", " 10-20, A23-45, 5, B60-B70 "):
        assert parse(text)[:3] == expected[:3]
    assert parse("B60") == expected[3:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--contigs '': empty; write linkers"),
        ("[]", "empty"),
        ("5/x/A1", "segment 2, 'x', is none; write linkers and parts of the motif proteins, such as 10-20/A23-45"),
        ("A5-3", "segment 1, 'A5-3': ends before it begins"),
        ("20-10/A1", "segment 1, '20-10': ends before it begins"),
        ("A1-5//5", "segment 2, '', is none"),
        ("A0-5", "segment 1, 'A0-5': positions count from 1"),
        ("A1-B5/5", "segment 1, 'A1-B5', is none"),
        ("A1-5/0 B1-5", "segment 2, '0 B1-5': a break between chains"),
        ("1000000", "segment 1, '1000000': no protein has more than 100,000 residues"),
        ("a1-5", "segment 1, 'a1-5', is none"),
    ],
)
def test_contig_that_is_none_names_its_segment(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("contigs", "message"),
    [
        ("5/C1-3", "segment C1-3: there is no protein C in {}, which has A to B"),
        ("5/A19-21", "segment A19-21: lys, protein A of {}, has 20 residues"),
        ("5/B9-10", "segment B9-10 of bee in {}: 'X' at position 2 is no canonical residue"),
        ("5/B1-2", "segment B1-2: bee in {} has a blank there; write a linker in its place"),
    ],
)
def test_contig_that_does_not_fit_its_proteins(contigs: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "motifs.fasta"
    path.write_text(f">lys of a hen\n{PROTEINS['A']}\n>bee\nW_WYWYWYWX\n")
    with pytest.raises(ValueError) as error:
        read_motifs(path, parse(contigs))
    assert message.format(path) in str(error.value)
    assert read_motifs(path, parse("A20/5/B3-9"))["A"] == PROTEINS["A"]


@pytest.mark.parametrize(
    ("contigs", "total", "message"),
    [
        ("3-5/A1-10", (16, 20), "--total-length 16:20: the contig 3-5/A1-10 has 13 to 15 residues"),
        ("3-5/A1-10", (1, 12), "--total-length 1:12: the contig"),
        ("90000/90000", None, "--contigs: the contig 90000/90000 has 180,000 to 180,000 residues; 100,000 are"),
        ("A1-10/B2", None, "no linker in it, so that there is nothing to find"),
    ],
)
def test_lengths_that_cannot_be_met(contigs: str, total: tuple[int, int] | None, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Scaffolds(parse(contigs), PROTEINS, 1, total)
    assert message in str(error.value)


@pytest.mark.parametrize("total", [None, (12, 13), (14, 14)])
def test_every_combination_of_lengths_has_even_odds(total: tuple[int, int] | None) -> None:
    """On a lattice of numbers in place of random ones, each combination comes up as often as it should."""
    ranges, motif = ((1, 3), (0, 2), (2, 5)), 5
    scaffolds = Scaffolds(parse("1-3/A1-2/0-2/B4-6/2-5"), PROTEINS, 1, total)
    low, high = total or (0, 99)
    wanted = {
        lengths
        for lengths in product(*(range(least, most + 1) for least, most in ranges))
        if low <= sum(lengths) + motif <= high
    }
    grid = [(n + 0.5) / 24 for n in range(24)]
    counts: Counter[tuple[int, ...]] = Counter()
    for numbers in product(grid, repeat=3):
        letters = scaffolds.prompt(0, numbers.__getitem__).letters
        first = letters.index("M")
        second = letters.index("Y", first)
        counts[first, second - first - 2, len(letters) - second - 3] += 1
    assert counts.keys() == wanted
    assert max(counts.values()) / min(counts.values()) < 1.35
    assert (scaffolds.shortest, scaffolds.longest) == (min(map(sum, wanted)) + motif, max(map(sum, wanted)) + motif)


def test_drawn_contig_and_places_of_motifs_are_told() -> None:
    scaffolds = Scaffolds(parse("2-4/A3-6/0-0/B1/3"), PROTEINS, 1)
    prompt = scaffolds.prompt(0, lambda key: 0.99)
    assert prompt.letters == "____TVRQW___"
    assert prompt.origin == "contig=4/A3-6/B1/3 motif=5-8,9-9"


def test_linkers_of_any_size_are_drawn_at_once() -> None:
    scaffolds = Scaffolds(parse("0-50000/A1-3/0-50000/A4-5/0-50000"), PROTEINS, 1, (80_000, 80_000))
    assert len(scaffolds.prompt(0, lambda key: 0.5).letters) == 80_000
