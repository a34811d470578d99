"""Held-out proteins, whole, from a FASTA file or an indexed dataset: the same proteins give the same parts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.console import counted
from d2plm_megatron.data.order import permuted
from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.data.windows import pack_windows
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream, seed_for


@dataclass(frozen=True)
class HeldOut:
    """Proteins to be scored, cut into the windows that go through a model.

    Attributes:
        ids: of the P proteins: of FASTA as written, else their number in the dataset.
        sequences: their residues as letters.
        packs: their windows; `scored_T` says which residues of each count. A protein's residue does in one of them.
        protein_of_part: for each window, in the order of the packs, which of the proteins it is from, int64.
        num_too_long: how many proteins were left out as they are longer than the limit.
        num_unscored: how many were left out as they have no canonical residue.
    """

    ids: tuple[str, ...]
    sequences: tuple[str, ...]
    packs: tuple[TokenBatch, ...]
    protein_of_part: np.ndarray
    num_too_long: int
    num_unscored: int

    @property
    def num_residues(self) -> int:
        """How many residues are scored."""
        return sum(int(pack.scored_T.sum()) for pack in self.packs)


def read_held_out(
    data: str, *, window: int, max_length: int | None = None, max_proteins: int = 1_000_000, tokens_per_pack: int
) -> HeldOut:
    """The proteins to be scored.

    Args:
        data: a FASTA file, or the prefix of an indexed dataset. A protein that was cut into chunks is one again.
        window: residues that go through a model at once; see windows.py.
        max_length: longer proteins are left out.
        max_proteins: that are looked at, a fixed sample by their place in the data.
        tokens_per_pack: of windows.

    Raises ValueError naming a protein with what is no residue, or when nothing is left to score.
    """
    proteins = list(read_whole(data, lambda number: sample(number, max_proteins)))
    short = [protein for protein in proteins if max_length is None or len(protein.sequence) <= max_length]
    if not short:
        raise ValueError(f"max_length={max_length}: shorter than all of {data}, {counted(len(proteins), 'protein')}")
    encoded = [(protein, alphabet.encode(protein.sequence)) for protein in short]
    kept = [(protein, residues) for protein, residues in encoded if alphabet.is_canonical(residues).any()]
    if not kept:
        raise ValueError(f"{data}: nothing to score: no canonical residue in {counted(len(short), 'protein')} of it")
    packs, protein_of_part = pack_windows([residues for _, residues in kept], window, tokens_per_pack)
    return HeldOut(
        ids=tuple(protein.name for protein, _ in kept),
        sequences=tuple(protein.sequence for protein, _ in kept),
        packs=packs,
        protein_of_part=protein_of_part,
        num_too_long=len(proteins) - len(short),
        num_unscored=len(short) - len(kept),
    )


def unigram_perplexity(packs: Iterable[TokenBatch]) -> float:
    """What a model that knows only how common each residue is would reach: exp of the entropy of the canonical 20."""
    counts = torch.zeros(alphabet.SIZE, dtype=torch.float64)
    for pack in packs:
        counts += torch.bincount(pack.tokens_T[pack.scored_T].cpu(), minlength=alphabet.SIZE)
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * shares.log()).sum()))


def sample(number: int, most: int) -> list[int]:
    """So many of the numbers below `number`, rising: always the same ones."""
    if number <= most:
        return list(range(number))
    rng = KeyedRng(seed_for(Stream.HELD_OUT, 0), epoch=0)
    return sorted(permuted(torch.arange(most), number, rng).tolist())
