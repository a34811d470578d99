"""The options of the command, and what its help says of them."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.sampling.options import described

MOST = 10**9
"""Proteins, or steps: more cannot be meant."""

Sampler = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"sampler=NAME sampler.OPTION=VALUE; default: the one that suits the model. NAME is one of {described()}"
    ),
]
Output = Annotated[Path | None, typer.Option(help="FASTA file to write; default CHECKPOINT/samples.fasta")]
NumSequences = Annotated[
    int, typer.Option(min=1, max=MOST, help="proteins to generate; of each template or start, where there are several")
]
Length = Annotated[
    str | None,
    typer.Option(
        help="residues: 120, or 100:200 for even odds between the two, or like:x.fasta, like:PREFIX or like:training "
        "for lengths as they are there; default 100:200"
    ),
]
Template = Annotated[
    list[str] | None,
    typer.Option(help="proteins with blanks to fill, as MKT____VLA or in FASTA files; a blank is _, #, ? or <mask>"),
]
MotifFile = Annotated[Path | None, typer.Option(help="FASTA file of the proteins that --contigs calls A, B, ...")]
Contigs = Annotated[
    str | None,
    typer.Option(help="parts of the motif proteins to keep, and new residues between: 10-20/A23-45/5/B60-70"),
]
TotalLength = Annotated[
    str | None, typer.Option(help="residues of a protein with its motifs: 120, or 100:200; default: what contigs give")
]
Start = Annotated[Path | None, typer.Option(help="FASTA file of proteins to make variants of")]
Strength = Annotated[
    float | None,
    typer.Option(help="share of residues of a start that is expected to be noised, above 0 to 1; default 0.3"),
]
Residues = Annotated[
    Path | None,
    typer.Option(help="CSV of residues allowed or forbidden at positions: columns position, allowed, forbidden"),
]
Forbid = Annotated[str, typer.Option(help="residues that are found nowhere, such as C")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="no copies of these: training, FASTA files, or prefixes of indexed datasets"),
]
Steps = Annotated[int, typer.Option(min=1, max=MOST, help="steps from noise to protein; more are slower and better")]
Temperature = Annotated[float, typer.Option(min=0.01, help="below 1 likelier, above 1 more diverse residues")]
Score = Annotated[bool, typer.Option("--score", help="tell each protein's perplexity under the model in its header")]
Rank = Annotated[bool, typer.Option("--rank", help="write the proteins of the lowest perplexity first; scores them")]
