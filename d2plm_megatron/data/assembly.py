"""Turns the parts of proteins that make up a pack into tokens."""

from collections.abc import Sequence

import numpy as np
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.slices import Slices
from d2plm_megatron.proteins import alphabet

ScoredTokens = tuple[np.ndarray, np.ndarray]
"""(ids of a part of a protein with the end tokens that it has, int64; which of them are scored, bool)."""


def to_batch(sources: Sequence[IndexedProteins], slices: Slices, epoch: int, options: Data) -> TokenBatch:
    """Reads the residues of a pack and fills it up to `tokens_per_pack` with padding that nothing attends to.

    Args:
        sources: the proteins of each corpus.
        slices: the parts of proteins in the pack.
        epoch: the epoch that the pack belongs to.
        options: of which `tokens_per_pack` counts here.

    Raises ValueError naming the protein whose bytes are no residues, or the file that has shrunk.
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
    tokens_T[is_residue_T] = _residues(sources, slices)
    tail_S = np.full(len(padding), -1)
    return assemble(
        tokens_T,
        lengths_S,
        samples_S=np.concatenate([slices.samples, tail_S]),
        stream_index_S=np.concatenate([slices.stream_index, tail_S]),
        scored_T=alphabet.is_canonical(tokens_T),
        epoch=epoch,
    )


def _residues(sources: Sequence[IndexedProteins], slices: Slices) -> np.ndarray:
    """The ids of the residues of all slices, end to end, uint8."""
    for number in set(slices.corpora.tolist()):
        sources[number].check_size()
    stops = (slices.places + slices.num_residues).tolist()
    bounds = zip(slices.corpora.tolist(), slices.places.tolist(), stops, strict=True)
    parts = [sources[number].residues[start:stop] for number, start, stop in bounds]
    residues = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)
    wrong = np.flatnonzero((residues < alphabet.RESIDUES.start) | (residues >= alphabet.RESIDUES.stop))
    if wrong.size:
        part = int(np.searchsorted(np.cumsum(slices.num_residues), wrong[0], side="right"))
        position = int(slices.starts[part] + wrong[0] - slices.num_residues[:part].sum())
        raise ValueError(sources[slices.corpora[part]].no_residue(int(slices.proteins[part]), position))
    return residues


def assemble_parts(parts: Sequence[ScoredTokens], first: int = 0) -> TokenBatch:
    """A pack of these parts alone, in order; their sample ids and stream indices are their numbers from `first` on."""
    numbers = first + np.arange(len(parts))
    lengths = np.array([len(tokens) for tokens, _ in parts], dtype=np.int64)
    tokens, scored = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return assemble(tokens, lengths, numbers, numbers, scored, epoch=0)


def assemble(
    tokens_T: np.ndarray,
    lengths_S: np.ndarray,
    samples_S: np.ndarray,
    stream_index_S: np.ndarray,
    scored_T: np.ndarray,
    epoch: int,
) -> TokenBatch:
    """A pack of its tokens, int64, and of what is known of each protein in it; see TokenBatch for what they are."""
    begins_S = np.cumsum(lengths_S) - lengths_S
    return TokenBatch(
        tokens_T=torch.from_numpy(tokens_T),
        positions_T=torch.from_numpy(np.arange(len(tokens_T)) - np.repeat(begins_S, lengths_S)),
        sequence_T=torch.from_numpy(np.repeat(np.arange(len(lengths_S)), lengths_S)),
        scored_T=torch.from_numpy(scored_T),
        sample_ids_S=torch.from_numpy(samples_S),
        stream_index_S=torch.from_numpy(stream_index_S),
        lengths_S=tuple(lengths_S.tolist()),
        epoch=epoch,
    )
