"""Slices say which parts of which proteins are in a pack, before any residue is read."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.rng import KeyedRng, Stream


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Parts of proteins, one entry each.

    Attributes:
        corpora: which corpus the protein is from.
        proteins: which protein of that corpus it is.
        starts: the residue with which the slice starts, from 0.
        places: the byte of the corpus at which that residue is.
        num_residues: how many residues the slice has.
        has_begin, has_end: whether the slice has that end of the protein, which then gets an end token.
        samples: the key of the noise.
        stream_index: the place of the draw in the stream.
    """

    corpora: np.ndarray
    proteins: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    num_residues: np.ndarray
    has_begin: np.ndarray
    has_end: np.ndarray
    samples: np.ndarray
    stream_index: np.ndarray

    @property
    def num_tokens(self) -> np.ndarray:
        """How many tokens each slice has: its residues, and an end token for each end of the protein that it has."""
        return self.num_residues + self.has_begin + self.has_end

    def take(self, chosen: list[int] | np.ndarray | slice) -> "Slices":
        """The slices of these indices."""
        return Slices(**{name: values[chosen] for name, values in vars(self).items()})


def joined(parts: Sequence[Slices]) -> Slices:
    """All of these slices, one after the other."""
    return Slices(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Slices)})


def crop(proteins: IndexedProteins, chosen: torch.Tensor, options: Data, rng: KeyedRng) -> Slices:
    """The chosen proteins. Of a longer one only `max_length_residues` are taken, from a place drawn by the noise.

    Raises ValueError naming a protein whose entry in the index is damaged.
    """
    numbers = chosen.numpy()
    lengths, offsets = proteins.checked(numbers)
    kept = np.minimum(lengths, options.max_length_residues)
    starts = rng.integers(Stream.CROP, torch.from_numpy(lengths - kept + 1), chosen).numpy()
    return Slices(
        corpora=np.zeros_like(numbers),
        proteins=numbers,
        starts=starts,
        places=offsets + starts,
        num_residues=kept,
        has_begin=(starts == 0) & proteins.begins_protein(numbers),
        has_end=(starts + kept == lengths) & proteins.ends_protein(numbers),
        samples=numbers,
        stream_index=np.arange(len(numbers)),
    )
