"""The training data as an endless stream of packs, a pure function of (data, seed): any part of it can be had at once.

An epoch is a permutation of the proteins, cut into windows of `window_proteins`; the proteins of a window are packed
together, and its packs shuffled. So a position in the stream is three small integers, every protein comes once per
epoch, and which packs make up a global batch does not depend on how many processes share them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from d2plm_megatron import alphabet
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.order import permuted
from d2plm_megatron.data.packing import best_fit
from d2plm_megatron.noise import Noise, Stream


@dataclass(frozen=True)
class Position:
    """The next pack of the stream."""

    epoch: int = 0
    window: int = 0
    pack: int = 0


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Parts of proteins, one entry each: which protein, from where, how many residues, and its place in the stream."""

    proteins: np.ndarray
    starts: np.ndarray
    num_residues: np.ndarray
    has_begin: np.ndarray
    has_end: np.ndarray
    ordinals: np.ndarray

    @property
    def num_tokens(self) -> np.ndarray:
        """Residues, and an end token at each true end of the protein that is inside."""
        return self.num_residues + self.has_begin + self.has_end

    def take(self, chosen: list[int]) -> "Slices":
        """Some of them."""
        return Slices(**{name: values[chosen] for name, values in vars(self).items()})


class PackStream:
    """The packs of the data, in order.

    Args:
        proteins: the data.
        options: how long, how many tokens, how many proteins at a time.
        seed: of the run.
    """

    def __init__(self, proteins: IndexedProteins, options: Data, seed: int) -> None:
        self.proteins = proteins
        self.options = options
        self.seed = seed
        self.num_windows = -(-len(proteins) // options.window_proteins)

    def packs_from(self, position: Position) -> Iterator[tuple[Slices, int, Position]]:
        """(what a pack holds, its epoch, the position after it), endlessly."""
        while True:
            packs = self.window(position.epoch, position.window)
            for number in range(position.pack, len(packs)):
                after = Position(position.epoch, position.window, number + 1)
                yield packs[number], position.epoch, after
            next_window = position.window + 1
            wraps = next_window == self.num_windows
            position = Position(position.epoch + wraps, 0 if wraps else next_window, 0)

    def window(self, epoch: int, window: int) -> list[Slices]:
        """The packs of a window, in order."""
        noise = Noise(self.seed, epoch)
        first = window * self.options.window_proteins
        last = min(first + self.options.window_proteins, len(self.proteins))
        slices = crop(
            self.proteins, permuted(torch.arange(first, last), len(self.proteins), noise), self.options, noise
        )
        packs = best_fit(slices.num_tokens.tolist(), self.options.tokens_per_pack)
        order = noise.bits(Stream.PACKS, window, torch.arange(len(packs))).argsort().tolist()
        slices = slices.take([item for number in order for item in packs[number]])
        slices = replace(slices, ordinals=np.arange(first, last))
        bounds = np.cumsum([0, *(len(packs[number]) for number in order)]).tolist()
        return [slices.take(list(range(begin, end))) for begin, end in pairwise(bounds)]


def crop(proteins: IndexedProteins, chosen: torch.Tensor, options: Data, noise: Noise) -> Slices:
    """The chosen proteins, of the long ones a part: `max_length_residues` from a place drawn by the noise."""
    lengths = proteins.lengths[chosen.numpy()].astype(np.int64)
    kept = np.minimum(lengths, options.max_length_residues)
    starts = noise.integers(Stream.CROP, torch.from_numpy(lengths - kept + 1), chosen).numpy()
    return Slices(
        proteins=chosen.numpy(),
        starts=starts,
        num_residues=kept,
        has_begin=starts == 0,
        has_end=starts + kept == lengths,
        ordinals=np.arange(len(chosen)),
    )


def to_batch(proteins: IndexedProteins, slices: Slices, epoch: int, options: Data) -> TokenBatch:
    """Reads the residues of a pack and fills it up to `tokens_per_pack` with padding that nothing attends to.

    Raises ValueError naming the protein whose bytes are no residues.
    """
    total, longest = options.tokens_per_pack, options.max_length_residues + 2
    used = int(slices.num_tokens.sum())
    padding = [min(longest, total - begin) for begin in range(used, total, longest)]
    lengths_S = np.concatenate([slices.num_tokens, padding]).astype(np.int64)
    ends_S = np.cumsum(lengths_S)
    tokens_T = np.full(total, alphabet.PAD, dtype=np.int64)
    is_residue_T = np.arange(total) < used
    num_real = len(slices.proteins)
    for places, has_one, token in (
        ((ends_S - lengths_S)[:num_real], slices.has_begin, alphabet.CLS),
        (ends_S[:num_real] - 1, slices.has_end, alphabet.EOS),
    ):
        tokens_T[places[has_one]] = token
        is_residue_T[places[has_one]] = False
    tokens_T[is_residue_T] = _residues(proteins, slices)
    return _assemble(tokens_T, lengths_S, slices, epoch)


def _residues(proteins: IndexedProteins, slices: Slices) -> np.ndarray:
    """The ids of all slices, end to end, uint8."""
    starts = proteins.offsets[slices.proteins] + slices.starts
    bounds = zip(starts.tolist(), (starts + slices.num_residues).tolist(), strict=True)
    parts = [proteins.residues[start:stop] for start, stop in bounds]
    residues = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)
    wrong = np.flatnonzero((residues < alphabet.RESIDUES.start) | (residues >= alphabet.RESIDUES.stop))
    if wrong.size:
        part = int(np.searchsorted(np.cumsum(slices.num_residues), wrong[0], side="right"))
        place = int(starts[part] + wrong[0] - slices.num_residues[:part].sum())
        raise ValueError(proteins.no_residue_at(place))
    return residues


def _assemble(tokens_T: np.ndarray, lengths_S: np.ndarray, slices: Slices, epoch: int) -> TokenBatch:
    begins_S = np.cumsum(lengths_S) - lengths_S
    padding = np.full(len(lengths_S) - len(slices.proteins), -1)
    canonical = (tokens_T >= alphabet.CANONICAL.start) & (tokens_T < alphabet.CANONICAL.stop)
    return TokenBatch(
        tokens_T=torch.from_numpy(tokens_T),
        positions_T=torch.from_numpy(np.arange(len(tokens_T)) - np.repeat(begins_S, lengths_S)),
        sequence_T=torch.from_numpy(np.repeat(np.arange(len(lengths_S)), lengths_S)),
        scored_T=torch.from_numpy(canonical),
        sample_ids_S=torch.from_numpy(np.concatenate([slices.proteins, padding])),
        ordinals_S=torch.from_numpy(np.concatenate([slices.ordinals, padding])),
        lengths_S=tuple(lengths_S.tolist()),
        epoch=epoch,
    )
