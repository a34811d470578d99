"""FASTA to LMDB, cleaned by the policy of data_tools/cleaning.py, with some proteins held out for validation if asked.

A protein is held out by a keyed hash of its sequence alone (data_tools/split.py). The hash knows nothing of homology:
a close relative may be on the other side. data_tools/prepare.py removes those, and duplicates.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.console import progress, run
from d2plm_megatron.files import atomic
from data_tools.cleaning import NOTES, Tally, read_proteins
from data_tools.lmdb_writer import LmdbWriter
from data_tools.split import is_held_out

_RECORDS_PER_ADVANCE = 1_000


def main(
    fasta: Annotated[Path, typer.Option("--input", help="Proteins to read, FASTA, FASTA.gz or FASTA.zst.")],
    output: Annotated[Path, typer.Option(help="LMDB file to write, replaced if it exists.", dir_okay=False)],
    holdout: Annotated[float, typer.Option(help="Share of the sequences to hold out, 0 up to but not 1.")] = 0.0,
    holdout_output: Annotated[
        Path | None, typer.Option(help="LMDB file for the sequences held out; needed with --holdout.", dir_okay=False)
    ] = None,
) -> None:
    """Reads proteins from FASTA, cleans them and writes an LMDB database; prints what happened to the records."""
    if not 0 <= holdout < 1:
        raise ValueError(f"--holdout {holdout}: expected 0 up to but not 1")
    if (holdout > 0) != (holdout_output is not None):
        raise ValueError("--holdout and --holdout-output go together: a share, and where to write it")
    if len({fasta, output, holdout_output}) < 3:
        raise ValueError("--input, --output and --holdout-output must be different files")
    outputs = [output, *([holdout_output] if holdout_output else [])]
    tally = Tally()
    written = convert(fasta, outputs, holdout, tally)
    print_tally(fasta, tally, dict(zip(outputs, written, strict=True)))


def convert(fasta: Path, outputs: list[Path], holdout: float, tally: Tally) -> list[int]:
    """Writes the proteins of `fasta` to outputs[0], and the share `holdout` of them to outputs[1].

    Counts in `tally`; returns the number of proteins in each output. All outputs appear together when they are whole.
    Raises ValueError, besides what read_proteins raises, if an output would be empty.
    """
    with atomic(*outputs) as temporaries, ExitStack() as stack, progress("reading FASTA", unit="records") as advance:
        writers = [stack.enter_context(LmdbWriter(path)) for path in temporaries]
        for number, (name, sequence) in enumerate(read_proteins(fasta, tally), start=1):
            writers[is_held_out(sequence, holdout)].add(name, sequence)
            if number % _RECORDS_PER_ADVANCE == 0:
                advance(_RECORDS_PER_ADVANCE)
        written = [writer.num_records for writer in writers]
        if not all(written):
            raise ValueError(
                f"{fasta}: with --holdout {holdout} no protein is left for {outputs[written.index(0)]} "
                f"({tally.kept:,} proteins in all); change the share or give more proteins"
            )
        return written


def print_tally(fasta: Path, tally: Tally, written: dict[Path, int]) -> None:
    """Prints what happened to the records of `fasta`, and the first that were skipped."""
    table = Table("records", "", title=str(fasta), title_justify="left")
    table.columns[1].justify = "right"
    counts = [("read", tally.read), *((f"written to {path}", count) for path, count in written.items())]
    counts += [(note, tally.notes[note]) for note in NOTES if tally.notes[note]]
    counts += [(f"skipped: {reason}", count) for reason, count in tally.skipped.most_common()]
    for what, count in counts:
        table.add_row(what, f"{count:,}")
    get_console().print(table)
    for example in tally.examples:
        print(f"skipped: {example}")


if __name__ == "__main__":
    run(main)
