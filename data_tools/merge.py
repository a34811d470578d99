"""Merges the shards of an indexed dataset, to the same bytes as one pass over the whole database would give."""

from pathlib import Path
from typing import Annotated

import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.console import progress, run
from d2plm_megatron.data.indexed import IndexedProteins, paths_of
from d2plm_megatron.data.indexed_writer import IndexedWriter, files_of
from d2plm_megatron.files import check_outputs

from .lmdb_to_indexed import MOST_SHARDS, Shard, shard_prefix


def main(
    output: Annotated[Path, typer.Option(help="Prefix of the files to write, PREFIX.bin and PREFIX.idx; replaced.")],
    shards: Annotated[
        int | None,
        typer.Option(help="How many shards PREFIX-1-of-n to PREFIX-n-of-n to merge.", min=1, max=MOST_SHARDS),
    ] = None,
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", help="Prefix of a dataset to merge, in order; repeat it.")
    ] = None,
) -> None:
    """Puts indexed datasets together, the shards of lmdb_to_indexed or any others; prints counts."""
    if (shards is None) == (not inputs):
        raise ValueError("say either --shards N or the datasets by --input")
    sources = inputs or [shard_prefix(output, Shard(number, shards or 0)) for number in range(1, (shards or 0) + 1)]
    merge(sources, output)


def merge(sources: list[Path], output: Path) -> None:
    """Writes the datasets of `sources`, in this order, as one, and checks each of them completely on the way.

    Raises FileNotFoundError naming what is missing. Raises ValueError for a source that is no dataset of proteins, is
    damaged, does not fit its checksums, or is the output itself.
    """
    check_outputs(files_of(output), [path for source in sources for path in files_of(source)])
    for source in sources:
        IndexedProteins(source)  # says what is missing before anything is read
    with IndexedWriter(output) as writer, progress("merging", total=len(sources), unit="shards") as advance:
        for source in sources:
            writer.append(source)
            advance(1)
    table = Table("shards", "proteins", "residues", title=" ".join(map(str, paths_of(output))))
    table.add_row(f"{len(sources):,}", f"{writer.num_proteins:,}", f"{writer.num_residues:,}")
    get_console().print(table)


if __name__ == "__main__":
    run(main)
