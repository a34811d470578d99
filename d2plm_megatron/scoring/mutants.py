"""Mutants as people write them: A42G is a G where the wild type has an A at position 42, and A42G:L50P is both."""

import re
from typing import NamedTuple

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

_SEPARATOR = re.compile(r"[:,]")
_MUTATION = re.compile(r"([A-Za-z])(-?\d{1,9})([A-Za-z])")
_WILD_TYPE = ("WT", "_WT", "WILD-TYPE")


class Mutation(NamedTuple):
    """A residue in the place of another: `place` counts from 0 in the wild type, letters are canonical."""

    wild: str
    place: int
    letter: str


Mutant = tuple[Mutation, ...]
"""All mutations of a protein, each at another place; none of the wild type."""


def parse(where: str, text: str, wild_type: str | None, offset: int) -> Mutant:
    """Reads a mutant: mutations with : or , between them, or WT for none.

    Args:
        where: it stands, for errors.
        text: such as A42G:L50P.
        wild_type: letters that it must fit; None where they are not known.
        offset: how far the positions of mutants are ahead of those in the wild type, which count from 1.

    Raises ValueError naming the mutation, and the position and both letters where it does not fit.
    """
    words = text.strip().upper()
    if words in _WILD_TYPE:
        return ()
    mutant = tuple(_mutation(where, word.strip(), offset) for word in _SEPARATOR.split(words))
    if len({mutation.place for mutation in mutant}) < len(mutant):
        raise ValueError(f"{where}: {text.strip()} changes a position twice")
    if wild_type is not None:
        for mutation in mutant:
            _check_fits(where, mutation, wild_type, offset)
    return mutant


def _mutation(where: str, word: str, offset: int) -> Mutation:
    found = _MUTATION.fullmatch(word)
    if found is None:
        raise ValueError(f"{where}: {word!r} is no mutation; write A42G, or A42G:L50P for several, or WT")
    wild, position, letter = found.groups()
    for one in (wild, letter):
        if one not in CANONICAL_LETTERS:
            raise ValueError(f"{where}: {word}: {one} is no canonical residue (allowed: {CANONICAL_LETTERS})")
    return Mutation(wild, int(position) - offset - 1, letter)


def _check_fits(where: str, mutation: Mutation, wild_type: str, offset: int) -> None:
    wild, place, letter = mutation
    position = place + 1 + offset
    written = f"{wild}{position}{letter}"
    if not 0 <= place < len(wild_type):
        ends = f"{1 + offset} to {len(wild_type) + offset}"
        raise ValueError(f"{where}: {written}: position {position} lies outside the wild type, {ends}; see --offset")
    if wild_type[place] != wild:
        raise ValueError(f"{where}: {written}: the wild type has {wild_type[place]} at position {position}, not {wild}")


def mutated(wild_type: str, mutant: Mutant) -> str:
    """The letters of a mutant."""
    letters = list(wild_type)
    for mutation in mutant:
        letters[mutation.place] = mutation.letter
    return "".join(letters)


def restored(sequence: str, mutant: Mutant) -> str | None:
    """The wild type of a mutant's letters; None where these do not have its mutations."""
    letters = list(sequence)
    for wild, place, letter in mutant:
        if not 0 <= place < len(letters) or letters[place] != letter:
            return None
        letters[place] = wild
    return "".join(letters)
