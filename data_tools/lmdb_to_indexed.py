"""LMDB to Megatron's indexed dataset: PREFIX.bin and PREFIX.idx, one byte per residue."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.alphabet import encode
from d2plm_megatron.console import progress, run
from d2plm_megatron.data.indexed import IndexedWriter, paths_of
from data_tools.proteins_lmdb import ProteinsLmdb

_RECORDS_PER_ADVANCE = 1_000


def main(
    database: Annotated[
        Path, typer.Option("--input", help="LMDB database to read, a file or a directory, as of fasta_to_lmdb.")
    ],
    prefix: Annotated[
        Path, typer.Option("--output", help="Prefix of the files to write, PREFIX.bin and PREFIX.idx; replaced.")
    ],
) -> None:
    """Converts a cleaned LMDB database of proteins to the files that training reads; prints counts and the rate."""
    started = time.perf_counter()
    num_proteins, num_residues = convert(database, prefix)
    seconds = time.perf_counter() - started
    table = Table("proteins", "residues", "seconds", "residues/s", title=" ".join(map(str, paths_of(prefix))))
    table.add_row(f"{num_proteins:,}", f"{num_residues:,}", f"{seconds:.1f}", f"{num_residues / seconds:,.0f}")
    get_console().print(table)


def convert(database: Path, prefix: Path) -> tuple[int, int]:
    """Writes PREFIX.bin and PREFIX.idx from a database of clean sequences; returns how many proteins and residues.

    Raises what ProteinsLmdb raises, and ValueError naming the key of an empty sequence, or the key, letter and
    position (from 1) of the first letter that is no upper-case residue.
    """
    num_residues = 0
    with ProteinsLmdb(database) as proteins, IndexedWriter(prefix) as writer:
        with progress("converting", total=len(proteins), unit="proteins") as advance:
            for number, record in enumerate(proteins, start=1):
                try:
                    ids = encode(record.sequence)
                    writer.add(ids)
                except ValueError as error:
                    raise ValueError(f"{database}, key {record.key!r}: {error}; clean it with fasta_to_lmdb") from None
                num_residues += ids.size
                if number % _RECORDS_PER_ADVANCE == 0:
                    advance(_RECORDS_PER_ADVANCE)
            advance(len(proteins) % _RECORDS_PER_ADVANCE)
        return len(proteins), num_residues


if __name__ == "__main__":
    run(main)
