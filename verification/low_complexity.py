"""Segments of low complexity, beside those of NCBI's `seg`, residue by residue.

    python -m verification.low_complexity --input uniref90.fasta.gz --seg ncbi-seg

`seg` is Debian's package ncbi-seg. The first canonical proteins of the file are taken, and as many random ones again of
1, 2, 5 or 20 kinds of residues by turns as make a tenth of them, of which most is of low complexity.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.machine import machine
from d2plm_megatron.console import progress, run
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import read_fasta, write_fasta
from d2plm_megatron.proteins.low_complexity import low_complexity

_MASKED = "x"
_KINDS = (1, 2, 5, 20)


def main(
    input: Annotated[Path, typer.Option(help="proteins, FASTA")],
    seg: Annotated[str, typer.Option(help="the program")] = "ncbi-seg",
    first: Annotated[int, typer.Option(min=10, help="canonical proteins to take")] = 3000,
) -> None:
    """Counts proteins and residues for which the two differ."""
    proteins = [*_canonical(input, first), *_random(first // 10)]
    theirs, their_seconds = _by_seg(seg, proteins)
    begin, differing, residues = time.perf_counter(), 0, 0
    with progress("masking", len(proteins), "proteins") as advance:
        for letters, masked in zip(proteins, theirs, strict=True):
            other = int((low_complexity(letters) != masked).sum())
            differing, residues = differing + bool(other), residues + other
            advance(1)
    seconds = time.perf_counter() - begin
    total, low = sum(map(len, proteins)), sum(int(masked.sum()) for masked in theirs)
    print(f"{len(proteins):,} proteins, {total:,} residues, {low / total:.1%} of low complexity by seg")
    print(f"the same segments: {len(proteins) - differing:,} proteins; residues that differ: {residues:,}")
    print(f"{seconds:.1f} s, seg {their_seconds:.1f} s")
    print(machine())


def _canonical(path: Path, number: int) -> list[str]:
    upper = (letters.upper() for _, letters in read_fasta(path))
    return list(islice((letters for letters in upper if set(letters) <= set(CANONICAL_LETTERS)), number))


def _random(number: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for turn in range(number):
        kinds = rng.choice(list(CANONICAL_LETTERS), _KINDS[turn % len(_KINDS)], replace=False)
        yield "".join(rng.choice(kinds, 20 + turn))


def _by_seg(seg: str, proteins: list[str]) -> tuple[list[np.ndarray], float]:
    """Of each protein the residues that seg masks, bool [L]; and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        path, begin = Path(folder, "proteins.fasta"), time.perf_counter()
        write_fasta(path, ((str(number), letters) for number, letters in enumerate(proteins)))
        done = subprocess.run([seg, path, "-x"], capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - begin
        path.write_text(done.stdout, encoding="utf-8")
        return [np.array(list(letters)) == _MASKED for _, letters in read_fasta(path)], seconds


if __name__ == "__main__":
    run(main)
