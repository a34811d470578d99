"""What is judged side by side: generated proteins, as many natural ones, and those shuffled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.evaluation.samples.novelty import shuffled
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.proteins.named import Protein

SAMPLES, NATURAL, SHUFFLED = COLUMNS = ("samples", "natural", "shuffled")
_SEED = 0
_CANONICAL = frozenset(alphabet.CANONICAL_LETTERS)


@dataclass(frozen=True)
class Panel:
    """Three columns of equally many proteins, and what natural proteins are like.

    Attributes:
        samples: generated proteins with a canonical residue, a fixed draw where there are more than natural ones.
        natural: drawn from the reference, by a fixed seed.
        shuffled: the natural ones, each with its residues in random order.
        rest: of the reference, what was not drawn, which all three are compared with.
        is_canonical: of each generated record, whether it is of canonical residues alone, bool.
        own: of each natural protein, its number in the reference.
    """

    samples: list[Protein]
    natural: list[Protein]
    shuffled: list[str]
    rest: list[str]
    is_canonical: np.ndarray
    own: np.ndarray

    @property
    def columns(self) -> dict[str, list[str]]:
        """The residues of the proteins of each column."""
        return {SAMPLES: sequences(self.samples), NATURAL: sequences(self.natural), SHUFFLED: self.shuffled}


def build_panel(samples: Path, reference: str, known: list[Protein]) -> Panel:
    """Reads the samples and splits the reference.

    Args:
        samples: FASTA of the generated proteins.
        reference: how the user named the natural proteins.
        known: the natural proteins.

    Raises ValueError for a reference of one protein, and for samples without canonical residues.
    """
    if len(known) < 2:
        raise ValueError(f"{reference}: one protein alone is no reference; give at least two, better hundreds")
    found, is_canonical = _read_samples(samples)
    rng = np.random.default_rng(_SEED)
    number = min(len(found), len(known) // 2)
    order, chosen = rng.permutation(len(known)), np.sort(rng.permutation(len(found))[:number])
    own = np.sort(order[:number])
    natural = [known[i] for i in own]
    return Panel(
        samples=[found[i] for i in chosen],
        natural=natural,
        shuffled=shuffled(sequences(natural), number),
        rest=[known[i].sequence for i in np.sort(order[number:])],
        is_canonical=is_canonical,
        own=own,
    )


def sequences(proteins: list[Protein]) -> list[str]:
    """The residues of each."""
    return [protein.sequence for protein in proteins]


def are_canonical(proteins: list[str]) -> np.ndarray:
    """Of each whether it is of canonical residues alone, and of one at least: bool."""
    return np.array([bool(letters) and _CANONICAL.issuperset(letters) for letters in proteins])


def _read_samples(path: Path) -> tuple[list[Protein], np.ndarray]:
    """The records with a canonical residue, in which other letters are X; and which records are canonical, bool."""
    records = [(header.split(maxsplit=1)[0], text.upper().removesuffix("*")) for header, text in read_records(path)]
    clean = [(name, "".join(letter if letter in _CANONICAL else "X" for letter in text)) for name, text in records]
    found = [Protein(name, None, letters) for name, letters in clean if letters.strip("X")]
    if not found:
        raise ValueError(f"{path}: no canonical residue in these samples, so there is nothing to judge")
    return found, are_canonical([letters for _, letters in records])
