"""The options of a command that say how an LMDB database is laid out; see proteins_lmdb.Layout."""

from typing import Annotated

import typer

Values = Annotated[str, typer.Option("--values", help="What a value of the LMDB is: json, an object, or raw, letters.")]
Field = Annotated[str, typer.Option("--field", help="Where in the JSON object the sequence is.")]
Keys = Annotated[
    str,
    typer.Option(
        "--keys",
        help="numbers: the keys of the LMDB are 0 to N - 1 in digits, taken in numeric order. stored: any keys, in the "
        "order of the database (binary or zero-padded numbers, accessions).",
    ),
]
