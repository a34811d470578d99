"""The options of a command that say how its inputs are read."""

from typing import Annotated

import typer

from ..preparation.cleaning import GAPS

Values = Annotated[str, typer.Option("--values", help="What a value of an LMDB is: json, an object, or raw, letters.")]
Field = Annotated[
    str, typer.Option("--field", help="Where the sequence is: in the JSON object of an LMDB, or the column of a table.")
]
Keys = Annotated[
    str,
    typer.Option(
        "--keys",
        help="numbers: the keys of the LMDB are 0 to N - 1 in digits, taken in numeric order. stored: any keys, in the "
        "order of the database (binary or zero-padded numbers, accessions).",
    ),
]
Gaps = Annotated[
    str,
    typer.Option(
        "--gaps",
        help=f"Of records with gaps (- or .), as alignments have: {', '.join(GAPS)}, which takes out the gaps.",
    ),
]
INPUTS = (
    "FASTA, A3M, Stockholm, tables (.csv, .tsv) or LMDB, also .gz, .zst, .bz2, .xz and .zip; one or more, or folders."
)
