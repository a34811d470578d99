"""Floors: what n-grams of the training proteins reach on held-out ones. A model above them has learnt very little."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from d2plm_megatron.config.data import Data
from d2plm_megatron.console import progress
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.ngrams import LONGEST, NGrams
from d2plm_megatron.proteins.spacing import MOST_RESIDUES, spacing


@dataclass(frozen=True)
class Floors:
    """N-grams of every order on held-out proteins.

    Attributes:
        by_name: "1-gram", "2-gram" and so on: the nats of each protein, as one draw without noise.
        train: the training data, as data.train names them.
        proteins: of them that were counted; a chunk of a cut protein is one.
        residues: of those.
    """

    by_name: dict[str, Draws]
    train: str
    proteins: int
    residues: int

    @property
    def best(self) -> str:
        """The name of the lowest."""
        return min(self.by_name, key=lambda name: self.by_name[name].nats_per_residue)

    def about(self) -> dict[str, Any]:
        """What they were fitted to, as JSON."""
        return {"train": self.train, "proteins": self.proteins, "residues": self.residues}


def floors(train: str, sequences: Sequence[str], order: int = LONGEST, max_residues: int = MOST_RESIDUES) -> Floors:
    """Fits n-grams to training data, and measures held-out proteins by them.

    Args:
        train: as data.train. Of several corpora each has its share of the residues, as far as it has so many.
        sequences: the held-out proteins.
        order: of the longest n-grams.
        max_residues: that are counted, about: of more, every second, third and so on protein.

    Raises FileNotFoundError or ValueError when the training data cannot be read.
    """
    sources = Data(train=train).sources
    samples = [_sample(IndexedProteins(one.prefix), max_residues * float(one.share)) for one in sources]
    proteins = list(chain.from_iterable(samples))
    with progress("counting n-grams", total=len(proteins), unit="proteins") as advance:
        model = NGrams.fit(_told(proteins, advance), order)
    held_out = [alphabet.encode(sequence) for sequence in sequences]
    nats = np.array([model.nats_of_orders(protein).sum(axis=1) for protein in held_out])
    residues = np.array([[int((protein < alphabet.CANONICAL.stop).sum())] for protein in held_out])
    by_name = {f"{number}-gram": Draws(nats[:, [number - 1]], residues) for number in range(1, order + 1)}
    return Floors(by_name, train, len(proteins), sum(map(len, proteins)))


def floors_or_why_none(
    given: str | None, own: str | None, sequences: Sequence[str], known: Iterable[Floors | str] = ()
) -> Floors | str:
    """Floors by the training data that a user gives, or by a run's own, or why there are none of these.

    Args:
        given: by a user, as data.train.
        own: of the run, likewise.
        sequences: the held-out proteins.
        known: floors of the same proteins; those of the same training data are not fitted again.

    Raises what `floors` raises about data that a user gives.
    """
    train = own if given is None else given
    if train is None:
        return "the run names no training data"
    for one in known:
        if isinstance(one, Floors) and one.train == train:
            return one
    try:
        return floors(train, sequences)
    except (OSError, ValueError) as error:
        if given is not None:
            raise
        return str(error)


def _sample(proteins: IndexedProteins, max_residues: float) -> Iterator[np.ndarray]:
    """Proteins at equal distances, of about so many residues at most."""
    step = spacing(len(proteins.residues), max_residues)
    return (proteins[number] for number in range(0, len(proteins), step))


def _told(proteins: Sequence[np.ndarray], advance: Callable[[int], None]) -> Iterator[np.ndarray]:
    for protein in proteins:
        advance(1)
        yield protein
