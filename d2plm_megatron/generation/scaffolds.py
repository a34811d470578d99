"""Motif scaffolding: parts of given proteins are kept, and what lies between them is found, as long as is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from string import ascii_uppercase

from d2plm_megatron.generation.contigs import Linker, Motif, Segment, render
from d2plm_megatron.generation.prompts import Uniform
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.proteins.prompt import BLANK, Prompt, prompt_letters


@dataclass(frozen=True)
class Scaffolds:
    """Prompts by a contig.

    Of all lengths of the linkers that the contig and the total allow, each combination has even odds.

    Args:
        segments: of the contig.
        motifs: letters of each protein, by the letter that names it.
        number: of proteins.
        total: residues of a whole protein, least and most; None for any.

    Raises ValueError when the total cannot be met, or nothing is to be found.
    """

    segments: tuple[Segment, ...]
    motifs: dict[str, str]
    number: int
    total: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        least, most = self._fewest, self._fewest + sum(self._spans)
        low, high = self.total or (1, LONGEST_RESIDUES)
        if not max(least, low) <= min(most, high):
            has = f"the contig {render(self.segments)} has {least:,} to {most:,} residues"
            asked = f"--total-length {low}:{high}: {has}" if self.total else f"--contigs: {has}; {high:,} are the most"
            raise ValueError(asked)
        if not any(isinstance(segment, Linker) for segment in self.segments):
            raise ValueError(f"--contigs {render(self.segments)}: no linker in it, so that there is nothing to find")

    @property
    def shortest(self) -> int:
        """Residues of a protein, at least."""
        return max(self._fewest, self.total[0] if self.total else 1)

    @property
    def longest(self) -> int:
        """Residues of a protein, at most."""
        return min(self._fewest + sum(self._spans), self.total[1] if self.total else LONGEST_RESIDUES)

    def __len__(self) -> int:
        return self.number

    def prompt(self, number: int, uniform: Uniform) -> Prompt:
        """The motifs, with blanks between them; its origin tells the drawn contig, and where motifs are in it."""
        extra = iter(self._drawn(uniform))
        parts: list[Segment] = []
        letters, places = "", []
        for segment in self.segments:
            if isinstance(segment, Motif):
                letters += self.motifs[segment.protein][segment.first - 1 : segment.last]
                places.append(f"{len(letters) - len(segment) + 1}-{len(letters)}")
                parts.append(segment)
            elif residues := segment.shortest + next(extra):
                letters += BLANK * residues
                parts.append(Linker(residues, residues))
        motif = f" motif={','.join(places)}" if places else ""
        return Prompt(letters, origin=f"contig={render(parts)}{motif}")

    @property
    def _fewest(self) -> int:
        return sum(len(part) if isinstance(part, Motif) else part.shortest for part in self.segments)

    @property
    def _spans(self) -> list[int]:
        """How many residues more than its shortest each linker may have."""
        return [part.longest - part.shortest for part in self.segments if isinstance(part, Linker)]

    @cached_property
    def _ways(self) -> list[list[int]]:
        """In how many ways the linkers from each on have at most n residues more than their shortest, n from 0."""
        exactly, found = [1], []
        for span in [*reversed(self._spans), 0]:
            found.append(list(accumulate(exactly)))
            exactly = [_between(found[-1], n - span, n) for n in range(len(exactly) + span)]
        return found[::-1]

    def _drawn(self, uniform: Uniform) -> list[int]:
        """What each linker has more than its shortest."""
        low, high = self.shortest - self._fewest, self.longest - self._fewest
        chosen = []
        for number, span in enumerate(self._spans):
            after = self._ways[number + 1]
            cumulative = list(accumulate(_between(after, low - extra, high - extra) for extra in range(span + 1)))
            place = int(Fraction(uniform(number)) * cumulative[-1])
            extra = next(extra for extra, ways in enumerate(cumulative) if ways > place)
            chosen.append(extra)
            low, high = low - extra, high - extra
        return chosen


def _between(at_most: Sequence[int], low: int, high: int) -> int:
    """Ways from low to high, ends included, of the ways that at most so many come about in."""
    return _at(at_most, high) - _at(at_most, low - 1)


def _at(at_most: Sequence[int], n: int) -> int:
    return at_most[min(n, len(at_most) - 1)] if n >= 0 else 0


def read_motifs(path: Path | None, segments: Sequence[Segment]) -> dict[str, str]:
    """Letters of the proteins of a FASTA file, by the letters that a contig calls them; none without a file.

    Raises ValueError naming the segment that asks for a protein or residues that are not there, or that has a letter
    that is no canonical residue.
    """
    records = dict(zip(ascii_uppercase, read_fasta(path), strict=False)) if path else {}
    for segment in (part for part in segments if isinstance(part, Motif)):
        where = f"--contigs: segment {segment}"
        if not records:
            raise ValueError(f"{where}: there is no protein {segment.protein} without --motif, a FASTA file of them")
        if segment.protein not in records:
            there = "A alone" if len(records) == 1 else f"A to {max(records)}"
            raise ValueError(f"{where}: there is no protein {segment.protein} in {path}, which has {there}")
        name, letters = records[segment.protein]
        if segment.last > len(letters):
            raise ValueError(f"{where}: {name}, protein {segment.protein} of {path}, has {len(letters):,} residues")
        kept = prompt_letters(f"{where} of {name} in {path}", letters[segment.first - 1 : segment.last])
        if BLANK in kept:
            raise ValueError(f"{where}: {name} in {path} has a blank there; write a linker in its place")
    return {letter: letters.upper() for letter, (_, letters) in records.items()}
