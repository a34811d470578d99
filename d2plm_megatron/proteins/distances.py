"""Distances between the 20 canonical residues: from BLOSUM62, or from any table of embeddings.

A distance is symmetric, 0 from a residue to itself and above 0 to any other, and has the mean 1 over all pairs.
"""

from functools import cache
from pathlib import Path

import numpy as np

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, NUM_CANONICAL
from d2plm_megatron.proteins.tables import read_rows

Distance = tuple[tuple[float, ...], ...]
"""Rows and columns in the order of CANONICAL_LETTERS."""

BLOSUM62 = "blosum62"
_PAIRS = np.triu_indices(NUM_CANONICAL, 1)


@cache
def blosum62() -> np.ndarray:
    """sqrt(s(x, x) + s(y, y) - 2 s(x, y)) of BLOSUM62's scores s, [20, 20]: a distance between points of a space."""
    from Bio.Align import substitution_matrices

    scores = substitution_matrices.load("BLOSUM62")
    table = np.array([[scores[one][other] for other in CANONICAL_LETTERS] for one in CANONICAL_LETTERS])
    return np.sqrt(table.diagonal()[:, None] + table.diagonal() - 2 * table)


def between_embeddings(path: Path) -> np.ndarray:
    """Euclidean distances between the embeddings of a file, [20, 20].

    Args:
        path: a .csv whose rows are a letter and its numbers, or a .safetensors with a vector by each letter's name.
            Letters that are not canonical are passed over.

    Raises ValueError naming the file and what is wrong in it, and OSError when it cannot be read.
    """
    vectors = _from_csv(path) if path.suffix == ".csv" else _from_safetensors(path)
    if missing := [letter for letter in CANONICAL_LETTERS if letter not in vectors]:
        raise ValueError(f"{path}: there is no embedding of {missing[0]}; the 20 canonical residues each need one")
    if len({vectors[letter].shape for letter in CANONICAL_LETTERS}) > 1:
        raise ValueError(f"{path}: all embeddings must be of one length")
    table = np.stack([vectors[letter] for letter in CANONICAL_LETTERS])
    if not np.isfinite(table).all():
        raise ValueError(f"{path}: an embedding has a number that is not finite")
    distances = np.linalg.norm(table[:, None] - table, axis=-1)
    for one, other in zip(*_PAIRS, strict=True):
        if not distances[one, other] > 0:
            raise ValueError(
                f"{path}: {CANONICAL_LETTERS[one]} and {CANONICAL_LETTERS[other]} have the same embedding, so that "
                "nothing could tell them apart"
            )
    return distances


def to_power(distances: np.ndarray, power: float) -> Distance:
    """Distances to a power, with the mean 1."""
    raised = distances**power
    return tuple(map(tuple, (raised / raised[_PAIRS].mean()).tolist()))


def as_text(distances: np.ndarray) -> str:
    """The distances of all pairs, with the mean 1, in a line: of L with A, G, V and so on, of A with G, V and so on."""
    pairs = distances[_PAIRS]
    return " ".join(f"{number:.4g}" for number in pairs / pairs.mean())


def from_text(text: str) -> np.ndarray | None:
    """The distances that `as_text` has written, [20, 20]; None for another text."""
    try:
        pairs = np.array([float(word) for word in text.split()])
    except ValueError:
        return None
    if len(pairs) != len(_PAIRS[0]) or not (np.isfinite(pairs) & (pairs > 0)).all():
        return None
    table = np.zeros((NUM_CANONICAL, NUM_CANONICAL))
    table[_PAIRS] = pairs
    return table + table.T


def _from_csv(path: Path) -> dict[str, np.ndarray]:
    vectors = {}
    for where, (letter, *numbers) in read_rows(path):
        if letter.strip() not in (*CANONICAL_LETTERS,):
            continue
        try:
            vectors[letter.strip()] = np.array([float(number) for number in numbers])
        except ValueError:
            raise ValueError(f"{where}: after the letter {letter} all must be numbers") from None
    return vectors


def _from_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: np.ravel(values).astype(float) for name, values in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"{path}: is no .safetensors file, and a table as text must be named .csv ({error})") from None
