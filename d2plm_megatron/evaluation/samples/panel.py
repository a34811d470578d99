"""What is judged side by side: generated proteins, as many natural ones, and those shuffled."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from d2plm_megatron.data.whole import read_whole, whole_lengths
from d2plm_megatron.evaluation.samples.novelty import shuffled
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.proteins.named import Protein
from d2plm_megatron.proteins.spacing import spacing

SAMPLES, NATURAL, SHUFFLED = COLUMNS = ("samples", "natural", "shuffled")

MOST_OF_REFERENCE = 10_000_000
"""Residues of the reference that are looked at, about; of more a fixed sample of its proteins."""

_SEED = 0
_CANONICAL = frozenset(alphabet.CANONICAL_LETTERS)


@dataclass(frozen=True)
class Panel:
    """Three columns of equally many proteins, and what natural proteins are like.

    Attributes:
        source: file of the generated proteins.
        reference: the natural ones, as the user named them.
        samples: generated proteins with a canonical residue, a fixed draw where there are more than natural ones.
        natural: drawn from the reference, by a fixed seed.
        rest: of the reference, what was not drawn, which all columns are compared with.
        is_canonical: of each generated record, whether it is of canonical residues alone, bool.
    """

    source: Path
    reference: str
    samples: list[Protein]
    natural: list[Protein]
    rest: list[Protein]
    is_canonical: np.ndarray

    @cached_property
    def matched(self) -> dict[str, list[str]]:
        """Of each column the residues to count where few of them are further from nature than many, though no worse.

        The longest sample and the longest natural protein are partners, then the next ones and so on. The longer of two
        partners ends where the shorter one does, so that columns have equally many residues in equally long proteins.
        """
        samples, natural = sequences(self.samples), sequences(self.natural)
        for own, other in zip(_by_length(samples), _by_length(natural), strict=True):
            shortest = min(len(samples[own]), len(natural[other]))
            samples[own], natural[other] = samples[own][:shortest], natural[other][:shortest]
        return {SAMPLES: samples, NATURAL: natural, SHUFFLED: shuffled(natural, len(natural))}

    @property
    def columns(self) -> dict[str, list[str]]:
        """The residues of the proteins of each column, whole; shuffled are the matched natural ones."""
        whole = {SAMPLES: sequences(self.samples), NATURAL: sequences(self.natural)}
        return {**self.matched, **whole}


def build_panel(samples: Path, reference: str) -> Panel:
    """Reads the samples, and splits the reference.

    Args:
        samples: FASTA of the generated proteins.
        reference: FASTA file, or prefix of an indexed dataset, of natural proteins.

    Raises ValueError for a reference of one protein, and for samples without canonical residues, or what says what
    cannot be read.
    """
    known = _read_reference(reference)
    if len(known) < 2:
        raise ValueError(f"{reference}: one protein alone is no reference; give at least two, better hundreds")
    found, is_canonical = _read_samples(samples)
    rng = np.random.default_rng(_SEED)
    number = min(len(found), len(known) // 2)
    order, chosen = rng.permutation(len(known)), np.sort(rng.permutation(len(found))[:number])
    return Panel(
        source=samples,
        reference=reference,
        samples=[found[i] for i in chosen],
        natural=[known[i] for i in np.sort(order[:number])],
        rest=[known[i] for i in np.sort(order[number:])],
        is_canonical=is_canonical,
    )


def sequences(proteins: list[Protein]) -> list[str]:
    """The residues of each."""
    return [protein.sequence for protein in proteins]


def are_canonical(proteins: list[str]) -> np.ndarray:
    """Of each whether it is of canonical residues alone, and of one at least: bool."""
    return np.array([bool(letters) and _CANONICAL.issuperset(letters) for letters in proteins])


def _read_reference(where: str) -> list[Protein]:
    """A fixed sample of its proteins, those without a canonical residue left out."""
    step = spacing(int(whole_lengths(where).sum()), MOST_OF_REFERENCE)
    sample = read_whole(where, lambda number: range(0, number, step))
    return [protein for protein in sample if not _CANONICAL.isdisjoint(protein.sequence)]


def _read_samples(path: Path) -> tuple[list[Protein], np.ndarray]:
    """The records with a canonical residue, in which other letters are X; and which records are canonical, bool."""
    records = [(header.split(maxsplit=1)[0], text.upper().removesuffix("*")) for header, text in read_records(path)]
    clean = [(name, "".join(letter if letter in _CANONICAL else "X" for letter in text)) for name, text in records]
    found = [Protein(name, None, letters) for name, letters in clean if letters.strip("X")]
    if not found:
        raise ValueError(f"{path}: no canonical residue in these samples, so there is nothing to judge")
    return found, are_canonical([letters for _, letters in records])


def _by_length(proteins: list[str]) -> list[int]:
    """Their numbers, that of the longest first."""
    return sorted(range(len(proteins)), key=lambda number: -len(proteins[number]))
