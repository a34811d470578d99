"""Looks into an indexed dataset: is it whole, what does it hold; on request writes it back as FASTA."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.alphabet import RESIDUE_LETTERS, TOKENS, decode
from d2plm_megatron.console import progress, run
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.files import atomic
from data_tools.fasta import write_fasta
from data_tools.manifest import draw
from data_tools.ngrams import entropies, ngram_counts
from data_tools.sides import Side

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_PROTEINS_AT_ONCE = 1 << 20
_PROTEINS_PER_ADVANCE = 1_000
_PREVIEW_RESIDUES = 60


def main(
    prefix: Annotated[str, typer.Argument(help="Prefix of the dataset: PREFIX.bin and PREFIX.idx.")],
    fasta: Annotated[
        Path | None, typer.Option(help="Also write the proteins to this FASTA file.", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw lengths and composition into this PNG file.", dir_okay=False)
    ] = None,
    first: Annotated[int, typer.Option(help="How many of the first proteins to show.", min=0)] = 3,
) -> None:
    """Checks every byte of an indexed dataset; prints lengths, composition, entropies and the first proteins."""
    proteins = IndexedProteins(prefix)
    with progress("checking", total=len(proteins.residues), unit="residues") as advance:
        counts = proteins.verify(advance)
    print(f"{prefix}: whole; {count_proteins(proteins)}, {len(proteins.residues):,} residues")
    get_console().print(length_table(proteins.lengths))
    get_console().print(composition_table(counts))
    with progress("counting n-grams", total=len(proteins.residues), unit="residues") as advance:
        found = entropies(ngram_counts(proteins, advance))
    get_console().print(entropy_table(found))
    print(f"unigram entropy {found[0]:.4f} nats per residue, perplexity {math.exp(found[0]):.2f} (canonical residues)")
    for number in range(min(first, len(proteins))):
        ids = proteins[number]
        more = f"... ({len(ids):,} residues)" if len(ids) > _PREVIEW_RESIDUES else ""
        print(f"{number}  {decode(ids[:_PREVIEW_RESIDUES])}{more}")
    if fasta:
        write_fasta(fasta, _records(proteins))
    if plot:
        with atomic(plot) as (temporary,):
            draw(temporary, {str(prefix): side_of(proteins, counts)})


def count_proteins(proteins: IndexedProteins) -> str:
    """How many proteins there are, in words, and in how many chunks where some were cut."""
    chunks = f" in {len(proteins):,} chunks" if len(proteins) > proteins.num_documents else ""
    return f"{proteins.num_documents:,} proteins{chunks}"


def length_quantiles(lengths: np.ndarray) -> list[int]:
    """The lengths (residues) at _QUANTILES: the shortest length that this share of the proteins does not exceed.

    From a histogram, so that memory depends on the longest protein and not on their number.
    """
    ranks = np.maximum(np.ceil(np.array(_QUANTILES) * len(lengths)), 1)
    return [int(length) for length in np.searchsorted(np.cumsum(_histogram(lengths)), ranks)]


def side_of(proteins: IndexedProteins, counts: np.ndarray) -> Side:
    """The lengths and the composition, counts int64 by id, as charts take them."""
    return Side(
        proteins=len(proteins),
        residues=len(proteins.residues),
        composition=counts,
        proteins_of_length=_histogram(proteins.lengths),
    )


def entropy_table(entropies_of_ngrams: list[float]) -> Table:
    """A table of the entropies of n-grams; see ngrams.py."""
    table = Table("n", "H_n of n-grams", "h_n of a residue", "exp h_n", title="n-grams, nats", title_justify="left")
    for n, (before, own) in enumerate(pairwise([0.0, *entropies_of_ngrams]), start=1):
        table.add_row(str(n), f"{own:.4f}", f"{own - before:.4f}", f"{math.exp(own - before):.2f}")
    return table


def length_table(lengths: np.ndarray) -> Table:
    """A table of the quantiles of the proteins' lengths."""
    names = ["shortest", *(f"{quantile:.0%}" for quantile in _QUANTILES[1:-1]), "longest", "mean"]
    table = Table(*names, title="length in residues", title_justify="left")
    table.add_row(*(f"{length:,}" for length in length_quantiles(lengths)), f"{lengths.mean():,.1f}")
    return table


def composition_table(counts: np.ndarray) -> Table:
    """A table of the residues by frequency; counts int64 by id."""
    table = Table("residue", "count", "share", title="composition", title_justify="left")
    for index in np.argsort(-counts, kind="stable"):
        if TOKENS[index] in RESIDUE_LETTERS and counts[index]:
            table.add_row(TOKENS[index], f"{counts[index]:,}", f"{counts[index] / counts.sum():.3%}")
    return table


def _histogram(lengths: np.ndarray) -> np.ndarray:
    histogram = np.zeros(int(lengths.max()) + 1, dtype=np.int64)
    for start in range(0, len(lengths), _PROTEINS_AT_ONCE):
        histogram += np.bincount(lengths[start : start + _PROTEINS_AT_ONCE], minlength=len(histogram))
    return histogram


def _records(proteins: IndexedProteins) -> Iterator[tuple[str, str]]:
    with progress("writing FASTA", total=len(proteins), unit="proteins") as advance:
        for number in range(len(proteins)):
            if number and number % _PROTEINS_PER_ADVANCE == 0:
                advance(_PROTEINS_PER_ADVANCE)
            yield f"protein_{number}", decode(proteins[number])
        advance((len(proteins) - 1) % _PROTEINS_PER_ADVANCE + 1)


if __name__ == "__main__":
    run(main)
