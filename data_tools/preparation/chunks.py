"""Long proteins cut into chunks of nearly equal length, none longer than allowed."""

import numpy as np


def chunk_bounds(length: int, max_length: int) -> list[int]:
    """Where chunks begin, and the end: ceil(length / max_length) chunks whose lengths differ by one at most."""
    num_chunks = -(-length // max_length)
    return [length * number // num_chunks for number in range(num_chunks + 1)]


def chunk_lengths(lengths: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of all chunks of proteins of `lengths`, int [n]: int32 [m]; and which begin a protein: bool [m]."""
    bounds = [chunk_bounds(length, max_length) for length in lengths.tolist()]
    chunks = [np.diff(own) for own in bounds]
    begins = np.zeros(sum(map(len, chunks)), dtype=bool)
    counts = np.array([len(own) for own in chunks], dtype=np.int64)
    begins[np.cumsum(counts) - counts] = True
    return np.concatenate([*chunks, np.empty(0)]).astype(np.int32), begins


def chunk_name(name: str, start: int, stop: int) -> str:
    """The id of residues `start` up to `stop`, from 0, of a protein: name/1-500, counted from 1 with both ends."""
    return f"{name}/{start + 1}-{stop}"
