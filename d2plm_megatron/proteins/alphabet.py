"""Residues and ids: ESM-2's vocabulary of 33 tokens, so that weights can be exchanged with it.

    0 <cls>  1 <pad>  2 <eos>  3 <unk>  4-23 the 20 canonical residues  24-30 X B U Z O . -  31 <null_1>  32 <mask>

A protein is stored as one byte per residue, the residue's id, without special tokens.
"""

import numpy as np

TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
SIZE = len(TOKENS)
PADDED_SIZE = 128
"""Rows of the embedding and of the output layer: padded so that tensor parallelism can split them."""

CLS, PAD, EOS, MASK = (TOKENS.index(t) for t in ("<cls>", "<pad>", "<eos>", "<mask>"))

CANONICAL_LETTERS = "LAGVSERTIDPKQNFYMHWC"
FIRST_CANONICAL = TOKENS.index("L")
NUM_CANONICAL = len(CANONICAL_LETTERS)
CANONICAL = slice(FIRST_CANONICAL, FIRST_CANONICAL + NUM_CANONICAL)

RESIDUE_LETTERS = CANONICAL_LETTERS + "XBUZO"
"""What a stored protein may hold: the canonical residues, unknown (X), ambiguous (B, Z) and rare (U, O)."""

LONGEST_RESIDUES = 100_000
"""How many residues a protein may have: none known has half as many."""

RESIDUES = slice(FIRST_CANONICAL, FIRST_CANONICAL + len(RESIDUE_LETTERS))
NOT_A_RESIDUE = 255
ID_OF_BYTE = np.full(256, NOT_A_RESIDUE, dtype=np.uint8)
"""Maps the ASCII code of an upper-case residue letter to its id, and everything else to NOT_A_RESIDUE."""
for _letter in RESIDUE_LETTERS:
    ID_OF_BYTE[ord(_letter)] = TOKENS.index(_letter)

LETTER_OF_ID = bytes(ord(token) if len(token) == 1 else 0 for token in TOKENS).ljust(256, b"\0")
"""The ASCII letter of each id, zero where there is none; a table for bytes.translate."""


def encode(sequence: str) -> np.ndarray:
    """Ids of a protein's residues, uint8, one per letter, no special tokens.

    Raises ValueError naming the first letter that is no residue and its position (from 1).
    """
    codes = np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)
    ids = ID_OF_BYTE[codes]
    wrong = np.flatnonzero(ids == NOT_A_RESIDUE)
    if wrong.size:
        position = int(wrong[0])
        raise ValueError(
            f"{sequence[position]!r} at position {position + 1} is no residue (allowed: {RESIDUE_LETTERS})"
        )
    return ids


def is_canonical(ids: np.ndarray) -> np.ndarray:
    """Whether each id is one of the 20 canonical residues, bool, of the same shape."""
    return (ids >= CANONICAL.start) & (ids < CANONICAL.stop)


def decode(ids: np.ndarray) -> str:
    """Letters of the given ids; special tokens appear by their names, such as <mask>."""
    return "".join(TOKENS[int(i)] for i in ids)
