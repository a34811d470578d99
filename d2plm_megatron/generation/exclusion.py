"""Proteins that are not to be generated: those of FASTA files, of indexed datasets, or of the training data."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.generation.lengths import TRAINING, trained_on
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.named import read_proteins

_DIGEST_BYTES = 8


@dataclass(frozen=True)
class KnownProteins:
    """A set of whole proteins, `letters in known`, at 8 bytes for each.

    Args:
        digests: of each, uint64, sorted. Of a new protein, the odds to be taken for one of n are n in 2^64.
    """

    digests: np.ndarray

    def __contains__(self, letters: object) -> bool:
        digest = np.uint64(_digest(alphabet.encode(str(letters)).tobytes()))
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
        for source in trained_on(training).sources:
            yield from _of_dataset(IndexedProteins(source.prefix))
    elif Path(name).is_file() and Path(name).suffix not in (".bin", ".idx"):
        yield from (_digest(alphabet.encode(protein.sequence).tobytes()) for protein in read_proteins(Path(name)))
    else:
        yield from _of_dataset(IndexedProteins(name))


def _of_dataset(proteins: IndexedProteins) -> Iterator[int]:
    """Of each protein, whose chunks are put together."""
    first, residues = 0, b""
    for lengths, offsets in proteins.pieces():
        ends = proteins.ends_protein(np.arange(first, first + len(lengths)))
        first += len(lengths)
        for length, offset, is_last in zip(lengths.tolist(), offsets.tolist(), ends.tolist(), strict=True):
            residues += proteins.residues[offset : offset + length].tobytes()
            if is_last:
                yield _digest(residues)
                residues = b""


def _digest(residues: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(residues, digest_size=_DIGEST_BYTES).digest(), "little")
