"""The options of prepare, each with its type and its help."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES

from ..formats.input_options import INPUTS
from .hold_out import DEFAULT_FRACTION, ENOUGH, LARGEST_DEFAULT, MANY_RECORDS
from .workers import MOST_WORKERS

LONG = ("crop", "split", "drop")
MAX_LENGTH = 1022

Inputs = Annotated[list[Path], typer.Option("--input", help=f"Proteins to read: {INPUTS}")]
Output = Annotated[Path, typer.Option(help="Folder to write.")]
Validation = Annotated[
    float | None,
    typer.Option(
        help=f"Fraction held out for validation, 0 up to but not 1. Default: {DEFAULT_FRACTION}; of fewer than "
        f"{MANY_RECORDS:,} records more, so that about {ENOUGH} are held out, but no more than {LARGEST_DEFAULT}."
    ),
]
Test = Annotated[
    float | None,
    typer.Option(
        help="Fraction held out as a third side, more than 0 and less than 1, for the last evaluation. Default: none."
    ),
]
SplitBy = Annotated[
    str,
    typer.Option(help="What the split hashes: sequence, id, or cluster (whose members are held out all or none)."),
]
ClusterTable = Annotated[
    Path | None,
    typer.Option(
        help="For --split-by cluster: table of MMseqs2, representative and member on each line; also compressed. "
        "Without it the headers name the clusters, UniRef50_... or UniRef90_..."
    ),
]
SearchHomologs = Annotated[
    bool,
    typer.Option(
        help="Remove training proteins that resemble a validation or test protein, and validation proteins that "
        "resemble a test protein, by MMseqs2."
    ),
]
MinSequenceIdentity = Annotated[float, typer.Option(help="Fraction of identical residues from which on they do.")]
MinCoverage = Annotated[float, typer.Option(help="Fraction of both proteins that must be aligned for that.")]
Sensitivity = Annotated[float, typer.Option(help="Sensitivity of MMseqs2's prefilter, 1 (fast) to 7.5.")]
MmseqsMemory = Annotated[str, typer.Option(help="Limit for MMseqs2's index, such as 4G.")]
MinLength = Annotated[int, typer.Option(help="Proteins of fewer residues are rejected.", min=1, max=LONGEST_RESIDUES)]
MaxLength = Annotated[
    int | None,
    typer.Option(
        help=f"For --long split or drop: proteins of more residues are long. Default: {MAX_LENGTH}.",
        min=1,
        max=LONGEST_RESIDUES,
    ),
]
Long = Annotated[
    str,
    typer.Option(
        help="crop: kept whole, training takes a random part. split: cut into chunks of nearly equal length, with "
        "terminus tokens at the protein's true ends alone. drop: rejected."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; the result does not depend on it. Default: one per core.", min=1, max=MOST_WORKERS),
]


def limits(long: str, max_length: int | None) -> tuple[int | None, int | None]:
    """The residues above which proteins are dropped and those above which they are cut; None: they are not.

    Raises ValueError if `long` is none of LONG, or if a maximum is given for proteins that are cropped.
    """
    if long not in LONG:
        raise ValueError(f"--long {long}: expected {', '.join(LONG)}")
    if long == "crop" and max_length is not None:
        raise ValueError(
            "--max-length is for --long split or drop; with crop data.max_length_residues decides in training"
        )
    longest = max_length or MAX_LENGTH
    return longest if long == "drop" else None, longest if long == "split" else None


def of_test(test: float | None) -> float:
    """The fraction held out for the test, 0 for none. Raises ValueError if none of it is asked for in a number."""
    if test == 0:
        raise ValueError("--test 0: expected more than 0 and less than 1, as 0.01 for 1%; leave it away for none")
    return test or 0.0
