"""Which prompt each generated protein has: a length to fill, a template, or a protein to vary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from d2plm_megatron.files import is_file
from d2plm_megatron.generation.lengths import Lengths
from d2plm_megatron.generation.residues import ResidueTable
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.proteins.prompt import BLANK, Prompt, prompt_letters

Uniform = Callable[..., float]
"""uniform(k) is the k-th number in (0, 1) that is drawn for a protein; uniform() is one more."""


class Prompts(Protocol):
    """The prompts of all proteins to be generated, `len(prompts)` of them.

    Attributes:
        shortest: residues of a protein, at least.
        longest: at most.
    """

    @property
    def shortest(self) -> int: ...  # noqa: D102

    @property
    def longest(self) -> int: ...  # noqa: D102

    def __len__(self) -> int: ...

    def prompt(self, number: int, uniform: Uniform) -> Prompt:
        """The prompt of a protein, from 0, with what has been drawn for it."""
        ...


@dataclass(frozen=True)
class FreePrompts:
    """Nothing but blanks.

    Args:
        lengths: how many, to be drawn.
        number: of proteins.
    """

    lengths: Lengths
    number: int

    @property
    def shortest(self) -> int:
        """Residues of a protein, at least."""
        return self.lengths.shortest

    @property
    def longest(self) -> int:
        """Residues of a protein, at most."""
        return self.lengths.longest

    def __len__(self) -> int:
        return self.number

    def prompt(self, number: int, uniform: Uniform) -> Prompt:
        """So many blanks as are drawn."""
        return Prompt(BLANK * self.lengths.drawn(uniform()))


@dataclass(frozen=True)
class GivenPrompts:
    """Proteins that were given, each several times: first all of the first one.

    Args:
        records: name and letters of each.
        each: how many proteins are generated from each.
        word: what they are called in headers.
    """

    records: Sequence[tuple[str, str]]
    each: int
    word: str

    @property
    def shortest(self) -> int:
        """Residues of a protein, at least."""
        return min(len(letters) for _, letters in self.records)

    @property
    def longest(self) -> int:
        """Residues of a protein, at most."""
        return max(len(letters) for _, letters in self.records)

    def __len__(self) -> int:
        return len(self.records) * self.each

    def prompt(self, number: int, uniform: Uniform) -> Prompt:
        """The record whose turn it is."""
        name, letters = self.records[number // self.each]
        return Prompt(letters, origin=f"{self.word}={name}")


@dataclass(frozen=True)
class RestrictedPrompts:
    """Other prompts, with a table of the residues that may be found.

    Args:
        prompts: the others.
        table: what it allows.

    Raises ValueError when the table has a position that not all of these proteins have.
    """

    prompts: Prompts
    table: ResidueTable

    def __post_init__(self) -> None:
        self.table.check(self.shortest)

    @property
    def shortest(self) -> int:
        """Residues of a protein, at least."""
        return self.prompts.shortest

    @property
    def longest(self) -> int:
        """Residues of a protein, at most."""
        return self.prompts.longest

    def __len__(self) -> int:
        return len(self.prompts)

    def prompt(self, number: int, uniform: Uniform) -> Prompt:
        """The prompt of the others, restricted."""
        prompt = self.prompts.prompt(number, uniform)
        return replace(prompt, allowed=self.table.allowed(len(prompt.letters)))


def read_templates(given: Sequence[str]) -> list[tuple[str, str]]:
    """Name and letters of each template: letters as they are typed, or the records of FASTA files.

    Raises ValueError naming a template with a letter that is none or without blanks, and what read_fasta raises.
    """
    records = []
    for number, text in enumerate(given, start=1):
        if is_file(text):
            records += _records(Path(text))
        elif "/" in text or Path(text).suffix:
            raise FileNotFoundError(f"--template {text}: no such file")
        else:
            records.append((f"template_{number}", prompt_letters(f"--template {text}", text)))
    for name, letters in records:
        if BLANK not in letters:
            raise ValueError(f"--template, {name}: no blank ({BLANK}) in it, so that there is nothing to find")
    return records


def read_starts(path: Path) -> list[tuple[str, str]]:
    """Name and letters of each protein to vary. Raises ValueError naming one with a blank, or a letter that is none."""
    records = _records(path)
    for name, letters in records:
        if BLANK in letters:
            raise ValueError(f"{path}, record {name}: blanks ({BLANK}) in it; give it as --template to fill them")
    return records


def _records(path: Path) -> list[tuple[str, str]]:
    return [(name, prompt_letters(f"{path}, record {name}", text)) for name, text in read_fasta(path)]
