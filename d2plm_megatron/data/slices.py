"""Which part of which protein: what is known of a pack before its residues are read."""

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
        corpora: which corpus.
        proteins: which of its proteins.
        starts: from which residue.
        places: at which byte of the corpus that is.
        num_residues: how many.
        has_begin, has_end: whether a true end of the protein is inside, which has an end token.
        samples: key of the noise.
        stream_index: place in the stream.
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
        """Residues, and an end token at each true end of the protein that is inside."""
        return self.num_residues + self.has_begin + self.has_end

    def take(self, chosen: list[int] | np.ndarray | slice) -> "Slices":
        """Some of them."""
        return Slices(**{name: values[chosen] for name, values in vars(self).items()})


def joined(parts: Sequence[Slices]) -> Slices:
    """All of them, one after the other."""
    return Slices(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Slices)})


def crop(proteins: IndexedProteins, chosen: torch.Tensor, options: Data, rng: KeyedRng) -> Slices:
    """The chosen proteins, of the long ones a part: `max_length_residues` from a place drawn by the noise.

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
