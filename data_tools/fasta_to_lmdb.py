"""Proteins to LMDB, cleaned by the policy of preparation/cleaning.py: the first step of data_tools/prepare.py alone.

Duplicates stay, and nothing is held out for validation.
"""

from collections.abc import Sequence
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

_RECORDS_PER_ADVANCE = 1_000


def main(
    inputs: Annotated[list[Path], typer.Option("--input", help=f"Proteins to read: {INPUTS}")],
    output: Annotated[Path, typer.Option(help="LMDB file to write, replaced if it exists.")],
    gaps: Gaps = "skip",
    field: Field = "sequence",
) -> None:
    """Reads proteins, cleans them and writes an LMDB database; prints what happened to the records."""
    check_gaps(gaps)
    sources = expand(inputs)
    check_outputs([output], map(data_file, sources))
    tally = Tally()
    convert(sources, output, tally, Layout(field=field), gaps)
    print_tally(" ".join(map(str, inputs)), tally, output)


def convert(
    inputs: Sequence[Path], output: Path, tally: Tally, layout: Layout | None = None, gaps: str = "skip"
) -> None:
    """Writes the proteins of `inputs` to a database and counts in `tally`; it appears when it is whole.

    Raises what read_proteins raises.
    """
    with (
        atomic(output) as (temporary,),
        LmdbWriter(temporary) as writer,
        progress("reading", unit="records") as advance,
    ):
        for path in inputs:
            own = Tally()
            for name, sequence in read_proteins(path, own, layout, gaps):
                writer.add(name, sequence)
                if own.kept % _RECORDS_PER_ADVANCE == 0:
                    advance(_RECORDS_PER_ADVANCE)
            tally.add(own)


def print_tally(title: str, tally: Tally, output: Path) -> None:
    """Prints what happened to the records, and the first that were skipped."""
    table = Table("records", "", title=escape(title), title_justify="left")
    table.columns[1].justify = "right"
    counts = [("read", tally.read), (f"written to {escape(str(output))}", tally.kept)]
    counts += [(note, tally.notes[note]) for note in NOTES if tally.notes[note]]
    counts += [(f"skipped: {reason}", count) for reason, count in tally.skipped.most_common()]
    for what, count in counts:
        table.add_row(what, f"{count:,}")
    get_console().print(table)
    for example in tally.examples:
        print(f"skipped: {example}")


if __name__ == "__main__":
    run(main)
