"""A prompt: a protein of which some residues are given, and the others, the blanks, are to be found."""

import re
from dataclasses import dataclass

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

BLANK = "_"
"""The letter of a residue that is not known and is to be predicted: a mask."""

_OTHER_BLANKS = re.compile(r"<mask>|[#?]", re.IGNORECASE)
_NO_PROMPT = re.compile(rf"[^{CANONICAL_LETTERS}{BLANK}]")


@dataclass(frozen=True)
class Prompt:
    """What is known of a protein before it is generated.

    Attributes:
        letters: canonical residues, and a BLANK for each that is to be found.
        allowed: of each place the canonical residues that may be found there; None for any.
        origin: where it comes from, as words of a FASTA header, such as "template=lysozyme".
    """

    letters: str
    allowed: tuple[str, ...] | None = None
    origin: str = ""


def prompt_letters(name: str, text: str) -> str:
    """Residues and blanks as people write them, in the letters of a Prompt.

    A blank is `_` (ESM3), `#` (EvoDiff), `?` (E1) or `<mask>` (ESM-2); letters may be of either case. A
    stop (*) at the end is left out.

    Raises ValueError, with the name, for what has no residues, or saying which letter is wrong, and its place (from 1).
    """
    letters = "".join(_OTHER_BLANKS.sub(BLANK, text).split()).removesuffix("*")
    letters = letters.upper() if letters.isascii() else letters
    if not letters:
        raise ValueError(f"{name}: no residues in it; write residues and {BLANK} for blanks, such as MKT____VLA")
    if wrong := _NO_PROMPT.search(letters):
        raise ValueError(
            f"{name}: {wrong[0]!r} at position {wrong.start() + 1} is no canonical residue ({CANONICAL_LETTERS}); "
            f"{BLANK} is a blank"
        )
    return letters
