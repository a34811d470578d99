"""The options of the commands that ask about given proteins."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.runs.options import MOST_DRAWS

DRAWS = 8

Proteins = Annotated[Path, typer.Option(help="proteins: a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx")]

Scores = Annotated[Path | None, typer.Option(help="table to write, .csv or .parquet; default beside the input")]
Pseudo = Annotated[bool, typer.Option("--pseudo", help="mask each residue once, too: a pass for every residue")]
Sort = Annotated[str, typer.Option(help="elbo, pseudo, or none: in the order given, and written as it goes")]

Mutants = Annotated[
    Path | None, typer.Option(help="table of mutants (column mutant), or a folder of them, as ProteinGym has it")
]
WildType = Annotated[str | None, typer.Option(help="of the mutants: its letters, or a FASTA file of one protein")]
ReferenceFile = Annotated[Path | None, typer.Option(help="ProteinGym's DMS_substitutions.csv, which knows wild types")]
Scored = Annotated[
    Path | None, typer.Option(help="table to write, .csv or .parquet, or a folder; default beside the input")
]
Methods = Annotated[
    list[str] | None, typer.Option(help="masked, wild-type or elbo, or several; default masked where masks are read")
]
ScoreColumn = Annotated[str | None, typer.Option(help="of measured values; default DMS_score where it is there")]
ElboDraws = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_DRAWS, help=f"of noise for each protein, by --method elbo; default {DRAWS}"),
]
Offset = Annotated[int, typer.Option(help="how far positions of mutants are ahead of the wild type's, from 1")]
HeatMap = Annotated[Path | None, typer.Option(help="PNG of all single mutants, with a CSV beside it")]
