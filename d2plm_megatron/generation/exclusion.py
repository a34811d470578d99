"""Proteins that are not to be generated: those of FASTA files, of indexed datasets, or of the training data."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.whole import Proteins, read_whole
from d2plm_megatron.generation.lengths import TRAINING, trained_on

_DIGEST_BYTES = 8


@dataclass(frozen=True)
class KnownProteins:
    """A set of whole proteins, `letters in known`, at 8 bytes for each.

    Args:
        digests: of each, uint64, sorted. Of a new protein, the odds to be taken for one of n are n in 2^64.
    """

    digests: np.ndarray

    def __contains__(self, letters: object) -> bool:
        digest = np.uint64(_digest(str(letters)))
        place = int(np.searchsorted(self.digests, digest))
        return place < len(self.digests) and bool(self.digests[place] == digest)


def read_known(names: Sequence[str], training: Data) -> KnownProteins:
    """The proteins that are named.

    Args:
        names: FASTA files, prefixes of indexed datasets, or "training".
        training: what the model was trained on.

    Raises ValueError or OSError naming what cannot be read.
    """
    found = [digest for name in names for digest in _digests(name, training)]
    return KnownProteins(np.unique(np.array(found, dtype=np.uint64)))


def _digests(name: str, training: Data) -> Iterator[int]:
    if name == TRAINING:
        named: list[Proteins] = [IndexedProteins(source.prefix) for source in trained_on(training).sources]
    else:
        named = [name]
    return (_digest(protein.sequence) for proteins in named for protein in read_whole(proteins))


def _digest(letters: str) -> int:
    return int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=_DIGEST_BYTES).digest(), "little")
