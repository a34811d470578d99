"""Long proteins cut into chunks of nearly equal length, none longer than allowed."""

import numpy as np


def chunk_bounds(length: int, max_length: int) -> list[int]:
    """Where each chunk of a protein begins, and where the last one ends, in residues.

    There are ceil(length / max_length) chunks, whose lengths differ by one at most.
    """
    num_chunks = -(-length // max_length)
    return [length * number // num_chunks for number in range(num_chunks + 1)]


def chunk_lengths(lengths: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of all chunks, int32 [m], and whether each begins a protein, bool [m]; `lengths` is int [n]."""
    bounds = [chunk_bounds(length, max_length) for length in lengths.tolist()]
    chunks = [np.diff(own) for own in bounds]
    begins = np.zeros(sum(map(len, chunks)), dtype=bool)
    counts = np.array([len(own) for own in chunks], dtype=np.int64)
    begins[np.cumsum(counts) - counts] = True
    return np.concatenate([*chunks, np.empty(0)]).astype(np.int32), begins


def chunk_name(name: str, start: int, stop: int) -> str:
    """The id of a chunk, such as name/1-500: first and last residue counted from 1, `start` up to `stop` from 0."""
    return f"{name}/{start + 1}-{stop}"
