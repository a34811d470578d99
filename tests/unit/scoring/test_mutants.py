"""Mutants as people write them, and what of them does not fit."""

import pytest

from d2plm_megatron.data.windows import around
from d2plm_megatron.scoring.assays import read_wild_type
from d2plm_megatron.scoring.mutants import Mutation, mutated, parse, restored

WILD_TYPE = "MKTVRQG"


@pytest.mark.parametrize(
    ("text", "offset", "letters"),
    [
        ("K2A", 0, "MATVRQG"),
        ("k2a:G7W", 0, "MATVRQW"),
        ("M1C,T3S", 0, "CKSVRQG"),
        ("K26A:V28L", 24, "MATLRQG"),
        ("M-4A", -5, "AKTVRQG"),
        (" WT ", 0, WILD_TYPE),
        ("_wt", 0, WILD_TYPE),
        ("K2K", 0, WILD_TYPE),
    ],
)
def test_mutants_are_read(text: str, offset: int, letters: str) -> None:
    mutant = parse("here", text, WILD_TYPE, offset)
    assert mutated(WILD_TYPE, mutant) == letters
    assert restored(letters, mutant) == WILD_TYPE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A2G", r"here: A2G: the wild type has K at position 2, not A"),
        ("K2A:L4P", r"here: L4P: the wild type has V at position 4, not L"),
        ("G8A", r"here: G8A: position 8 lies outside the wild type, 1 to 7; see --offset"),
        ("M0A", r"position 0 lies outside"),
        ("2G", r"here: '2G' is no mutation; write A42G"),
        ("", r"here: '' is no mutation"),
        ("K2A:", r"here: '' is no mutation"),
        ("K2*", r"'K2\*' is no mutation"),
        ("K2X", r"K2X: X is no canonical residue"),
        ("K2A:K2G", r"K2A:K2G changes a position twice"),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse("here", text, WILD_TYPE, 0)


def test_positions_are_told_as_they_were_written() -> None:
    with pytest.raises(ValueError, match="A26G: the wild type has K at position 26, not A"):
        parse("here", "A26G", WILD_TYPE, 24)
    with pytest.raises(ValueError, match="lies outside the wild type, 25 to 31"):
        parse("here", "K2A", WILD_TYPE, 24)


def test_wild_types_are_restored_only_from_their_mutants() -> None:
    assert restored("MATVRQG", (Mutation("K", 1, "C"),)) is None
    assert restored("MA", (Mutation("K", 5, "A"),)) is None


def test_windows_are_those_of_proteingym() -> None:
    """Its rule for an even length W of the model, at every place: from 0, to the end, or W / 2 to either side."""
    for num_residues in (5, 8, 9, 20):
        for place in range(num_residues):
            found = around([place], num_residues, 8)
            if num_residues <= 8:
                expected = (0, num_residues)
            elif place < 4:
                expected = (0, 8)
            elif place >= num_residues - 4:
                expected = (num_residues - 8, num_residues)
            else:
                expected = (place - 4, place + 4)
            assert (found.start, found.stop) == expected


def test_windows_hold_all_mutations() -> None:
    for places in ([3, 9], [0, 19], [2, 2, 17], [11]):
        for longest in (2, 5, 8, 30):
            found = around(places, 20, longest)
            assert 0 <= found.start <= min(places) and max(places) < found.stop <= 20
            assert found.stop - found.start == max(min(longest, 20), max(places) - min(places) + 1)
    assert around([], 20, 8) == slice(0, 8)


def test_letters_are_no_name_of_a_file_however_many_they_are() -> None:
    assert read_wild_type("MK" * 500) == "MK" * 500
