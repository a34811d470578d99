"""Proteins to LMDB, cleaned by the policy of preparation/cleaning.py, with some held out for validation if asked.

A protein is held out by a keyed hash of its sequence alone (preparation/split.py). The hash knows nothing of homology:
a close relative may be on the other side. data_tools/prepare.py removes those, and duplicates.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich import get_console
from rich.markup import escape
from rich.table import Table

from d2plm_megatron.console import progress, run
from d2plm_megatron.files import atomic, check_outputs

from .formats.input_options import INPUTS, Field, Gaps
from .formats.inputs import expand, read_proteins
from .formats.lmdb_values import Layout
from .formats.lmdb_writer import LmdbWriter
from .formats.proteins_lmdb import data_file
from .preparation.cleaning import NOTES, Tally, check_gaps
from .preparation.split import is_held_out

_RECORDS_PER_ADVANCE = 1_000


def main(
    inputs: Annotated[list[Path], typer.Option("--input", help=f"Proteins to read: {INPUTS}")],
    output: Annotated[Path, typer.Option(help="LMDB file to write, replaced if it exists.")],
    gaps: Gaps = "skip",
    field: Field = "sequence",
    holdout: Annotated[float, typer.Option(help="Share of the sequences to hold out, 0 up to but not 1.")] = 0.0,
    holdout_output: Annotated[
        Path | None, typer.Option(help="LMDB file for the sequences held out; needed with --holdout.")
    ] = None,
) -> None:
    """Reads proteins, cleans them and writes an LMDB database; prints what happened to the records."""
    if not 0 <= holdout < 1:
        raise ValueError(f"--holdout {holdout}: expected 0 up to but not 1, as 0.05 for 5%")
    if (holdout > 0) != (holdout_output is not None):
        raise ValueError("--holdout and --holdout-output go together: a share, and where to write it")
    check_gaps(gaps)
    sources = expand(inputs)
    outputs = [output, *([holdout_output] if holdout_output else [])]
    check_outputs(outputs, map(data_file, sources))
    tally = Tally()
    written = convert(sources, outputs, holdout, tally, Layout(field=field), gaps)
    print_tally(" ".join(map(str, inputs)), tally, dict(zip(outputs, written, strict=True)))


def convert(
    inputs: Sequence[Path],
    outputs: list[Path],
    holdout: float,
    tally: Tally,
    layout: Layout | None = None,
    gaps: str = "skip",
) -> list[int]:
    """Writes the proteins of `inputs` to outputs[0], and the share `holdout` of them to outputs[1].

    Counts in `tally`; returns the number of proteins in each output. All outputs appear together when they are whole.
    Raises ValueError, besides what read_proteins raises, if an output would be empty.
    """
    with atomic(*outputs) as temporaries, ExitStack() as stack, progress("reading", unit="records") as advance:
        writers = [stack.enter_context(LmdbWriter(path)) for path in temporaries]
        for path in inputs:
            own = Tally()
            for name, sequence in read_proteins(path, own, layout, gaps):
                writers[is_held_out(sequence, holdout)].add(name, sequence)
                if own.kept % _RECORDS_PER_ADVANCE == 0:
                    advance(_RECORDS_PER_ADVANCE)
            tally.absorb(own)
        written = [writer.num_records for writer in writers]
        if not all(written):
            raise ValueError(
                f"with --holdout {holdout} no protein is left for {outputs[written.index(0)]} "
                f"({tally.kept:,} proteins in all); change the share or give more proteins"
            )
        return written


def print_tally(title: str, tally: Tally, written: dict[Path, int]) -> None:
    """Prints what happened to the records, and the first that were skipped."""
    table = Table("records", "", title=escape(title), title_justify="left")
    table.columns[1].justify = "right"
    counts = [("read", tally.read), *((f"written to {escape(str(path))}", count) for path, count in written.items())]
    counts += [(note, tally.notes[note]) for note in NOTES if tally.notes[note]]
    counts += [(f"skipped: {reason}", count) for reason, count in tally.skipped.most_common()]
    for what, count in counts:
        table.add_row(what, f"{count:,}")
    get_console().print(table)
    for example in tally.examples:
        print(f"skipped: {example}")


if __name__ == "__main__":
    run(main)
