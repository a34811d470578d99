"""Random proteins to measure and train on: every residue is as likely as any other."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins import alphabet

LOG_LENGTH_MEAN, LOG_LENGTH_STD = 5.55, 0.72
"""Log-normal fitted to the lengths in residues of 9,006 proteins of UniRef90 (2026), by their mean and deviation."""
SHORTEST, LONGEST_READ = 12, 1022
"""Residues; the longest that the models read."""
NUM_SIMULATED = 4000


def write_proteins(prefix: Path, lengths: Iterable[int], seed: int = 0) -> Path:
    """Writes PREFIX.bin and PREFIX.idx with a protein of each length in residues; returns the prefix."""
    generator = np.random.default_rng(seed)
    with IndexedWriter(prefix) as writer:
        for length in lengths:
            residues = generator.integers(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, length)
            writer.add(residues.astype(np.uint8))
    return prefix


def write_simulated(prefix: Path) -> str:
    """Writes what stands for real proteins when none are given; returns the prefix."""
    return str(write_proteins(prefix, natural_lengths(NUM_SIMULATED, LONGEST_READ)))


def short_lengths(number: int) -> NDArray[np.int64]:
    """Of proteins for tiny encoders: 10 to 89 residues, evenly."""
    return np.random.default_rng(0).integers(10, 90, number)


def natural_lengths(number: int, longest: int) -> NDArray[np.int64]:
    """Like those of UniRef90: log-normal, cut to SHORTEST and `longest` residues."""
    lengths = np.random.default_rng(0).lognormal(LOG_LENGTH_MEAN, LOG_LENGTH_STD, number)
    return lengths.clip(SHORTEST, longest).astype(np.int64)
