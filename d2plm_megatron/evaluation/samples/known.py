"""The known proteins, which samples should be new among: those that were trained on, or the reference."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.console import progress
from d2plm_megatron.data.whole import Choice, read_whole
from d2plm_megatron.evaluation.samples.bootstrap import of_ratio
from d2plm_megatron.evaluation.samples.panel import NATURAL, Panel, sequences
from d2plm_megatron.evaluation.samples.verdict import Columns
from d2plm_megatron.proteins.named import Protein
from d2plm_megatron.proteins.spacing import MOST_RESIDUES, spacing

_TOLD_AT_ONCE = 1000


@dataclass(frozen=True)
class Known:
    """Proteins that are read from their file whenever they are needed, and never all of them in memory.

    Attributes:
        where: FASTA file, or prefix of an indexed dataset.
        proteins: how many.
        residues: of all of them.
        times: how many of them are a protein of the panel letter by letter, by its residues; those that are none lack.
        first: the number of the first of these, likewise.
    """

    where: str
    proteins: int
    residues: int
    times: Counter[str]
    first: dict[str, int]

    @classmethod
    def look(cls, where: str, panel: Panel) -> "Known":
        """Reads them once. Raises ValueError, or OSError, saying what is wrong and where."""
        wanted = set().union(*panel.columns.values(), sequences(panel.rest))
        proteins, residues, times, first = 0, 0, Counter[str](), dict[str, int]()
        for number, protein in enumerate(_told(where, "reading")):
            proteins, residues = number + 1, residues + len(protein.sequence)
            if protein.sequence in wanted:
                times[protein.sequence] += 1
                first.setdefault(protein.sequence, number)
        return cls(where, proteins, residues, times, first)

    def read(self, doing: str) -> Iterator[Protein]:
        """All of them, with a bar that says what is being done."""
        return _told(self.where, doing, self.proteins)

    def sampled(self) -> Iterator[str]:
        """The residues of a fixed sample, enough to count n-grams in."""
        step = spacing(self.residues, MOST_RESIDUES)
        total = len(range(0, self.proteins, step))
        some = _told(self.where, "counting n-grams", total, lambda number: range(0, number, step))
        return (protein.sequence for protein in some)

    def selves(self, panel: Panel) -> np.ndarray:
        """Of each natural protein the number of the one that is itself, int64; -1 where it is not among them."""
        return np.array([self.first.get(letters, -1) for letters in sequences(panel.natural)])

    def copies(self, panel: Panel) -> Columns:
        """How many proteins of each column are known letter by letter; a natural one is not its own copy."""
        own = {name: int(name == NATURAL) for name in panel.columns}
        return {
            name: {"copies": of_ratio(np.array([float(self.times[letters] > own[name]) for letters in column]))}
            for name, column in panel.columns.items()
        }

    def of_reference(self, panel: Panel) -> int:
        """How many proteins of the reference that were looked at are among them."""
        return sum(protein.sequence in self.times for protein in (*panel.natural, *panel.rest))


def _told(where: str, doing: str, total: int | None = None, choose: Choice | None = None) -> Iterator[Protein]:
    with progress(doing, total, "proteins") as advance:
        for number, protein in enumerate(read_whole(where, choose), start=1):
            yield protein
            if number % _TOLD_AT_ONCE == 0:
                advance(_TOLD_AT_ONCE)
