"""Looks into an indexed dataset: checks that it is whole, and prints or draws or writes as FASTA what it holds."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.console import progress, run
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.files import atomic, check_outputs
from d2plm_megatron.proteins.alphabet import LETTER_OF_ID, RESIDUE_LETTERS, TOKENS, decode
from d2plm_megatron.proteins.fasta import write_fasta

from .preparation.manifest import plot_splits
from .preparation.splits import SplitCounts
from .simulation.ngrams import entropies, ngram_counts

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_PREVIEW_RESIDUES = 60


def main(
    prefix: Annotated[str, typer.Argument(help="Prefix of the dataset: PREFIX.bin and PREFIX.idx.")],
    fasta: Annotated[Path | None, typer.Option(help="Also write the proteins to this FASTA file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw lengths and composition into this PNG file.")] = None,
    first: Annotated[int, typer.Option(help="How many of the first proteins to show.", min=0)] = 3,
) -> None:
    """Checks every byte of an indexed dataset; prints lengths, composition, entropies and the first proteins."""
    check_outputs([path for path in (fasta, plot) if path], files_of(prefix))
    proteins = IndexedProteins(prefix)
    with progress("checking", total=len(proteins.residues), unit="residues") as advance:
        counts = proteins.verify(advance)
    compared = "with the checksums beside it" if proteins.checksums() else "no checksums beside it"
    print(f"{prefix}: whole; {count_proteins(proteins)}, {len(proteins.residues):,} residues ({compared})")
    histogram = proteins_of_length(proteins)
    get_console().print(length_table(histogram))
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
            plot_splits(temporary, {str(prefix): counts_of(proteins, counts, histogram)})


def count_proteins(proteins: IndexedProteins) -> str:
    """How many proteins there are and, if some were cut, in how many chunks, in words."""
    chunks = f" in {len(proteins):,} chunks" if len(proteins) > proteins.num_documents else ""
    return f"{proteins.num_documents:,} proteins{chunks}"


def proteins_of_length(proteins: IndexedProteins) -> np.ndarray:
    """How many proteins have 0, 1, ... residues, int64: memory depends on the longest, and not on their number."""
    histogram = np.zeros(1, dtype=np.int64)
    for lengths, _ in proteins.pieces():
        own = np.bincount(lengths, minlength=len(histogram))
        own[: len(histogram)] += histogram
        histogram = own
    return histogram


def length_quantiles(histogram: np.ndarray) -> list[int]:
    """The lengths (residues) at _QUANTILES: the shortest length that this fraction of the proteins does not exceed."""
    ranks = np.maximum(np.ceil(np.array(_QUANTILES) * histogram.sum()), 1)
    return [int(length) for length in np.searchsorted(np.cumsum(histogram), ranks)]


def counts_of(proteins: IndexedProteins, counts: np.ndarray, histogram: np.ndarray) -> SplitCounts:
    """The lengths and the composition in the form that the charts take; `counts` is int64 by id."""
    return SplitCounts(
        proteins=len(proteins),
        residues=len(proteins.residues),
        composition=counts,
        proteins_of_length=histogram,
    )


def entropy_table(entropies_of_ngrams: list[float]) -> Table:
    """A table of the entropies of n-grams; see ngrams.py."""
    table = Table("n", "H_n of n-grams", "h_n of a residue", "exp h_n", title="n-grams, nats", title_justify="left")
    for n, (before, own) in enumerate(pairwise([0.0, *entropies_of_ngrams]), start=1):
        table.add_row(str(n), f"{own:.4f}", f"{own - before:.4f}", f"{math.exp(own - before):.2f}")
    return table


def length_table(histogram: np.ndarray) -> Table:
    """A table of the quantiles of the proteins' lengths."""
    mean = np.average(np.arange(len(histogram)), weights=histogram)
    names = ["shortest", *(f"{quantile:.0%}" for quantile in _QUANTILES[1:-1]), "longest", "mean"]
    table = Table(*names, title="length in residues", title_justify="left")
    table.add_row(*(f"{length:,}" for length in length_quantiles(histogram)), f"{mean:,.1f}")
    return table


def composition_table(counts: np.ndarray) -> Table:
    """A table of the residues by frequency; counts int64 by id."""
    table = Table("residue", "count", "fraction", title="composition", title_justify="left")
    for index in np.argsort(-counts, kind="stable"):
        if TOKENS[index] in RESIDUE_LETTERS and counts[index]:
            table.add_row(TOKENS[index], f"{counts[index]:,}", f"{counts[index] / counts.sum():.3%}")
    return table


def _records(proteins: IndexedProteins) -> Iterator[tuple[str, str]]:
    number = 0
    with progress("writing FASTA", total=len(proteins.residues), unit="residues") as advance:
        for lengths, offsets in proteins.pieces():
            for start, stop in zip(offsets.tolist(), (offsets + lengths).tolist(), strict=True):
                yield f"protein_{number}", proteins.residues[start:stop].tobytes().translate(LETTER_OF_ID).decode()
                number += 1
            advance(int(lengths.sum()))


if __name__ == "__main__":
    run(main)
