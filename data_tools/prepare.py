"""Raw proteins to training data in one command: cleaned, without duplicates, split, without homologs of validation.

    python -m data_tools.prepare --input uniref50.fasta.gz --output data/uniref50

writes train and validation as .lmdb and as .bin/.idx, manifest.json (what was done), histograms.png and rejected.tsv.
Memory does not grow with the input. After a kill the same command goes on. The same input and parameters give the same
bytes on any number of workers.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import get_console
from rich.markup import escape
from rich.table import Table

from d2plm_megatron.console import one_line, run
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES
from d2plm_megatron.proteins.mmseqs import Homology

from .formats.input_options import INPUTS, Field, Gaps, Keys, Values
from .formats.inputs import count_records, expand
from .formats.lmdb_values import Layout
from .formats.proteins_lmdb import data_file
from .preparation.clean_blocks import Rules
from .preparation.cleaning import check_gaps
from .preparation.plan import Plan
from .preparation.split import Split
from .preparation.stages import FILES, Preparation
from .preparation.workers import MOST_WORKERS, available_cores

LONG = ("crop", "split", "drop")
MAX_LENGTH = 1022
_SHARE, _LARGEST_SHARE, _HELD_OUT = 0.005, 0.1, 100
_MANY = int(_HELD_OUT / _SHARE)


def main(
    inputs: Annotated[list[Path], typer.Option("--input", help=f"Proteins to read: {INPUTS}")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    gaps: Gaps = "skip",
    validation: Annotated[
        float | None,
        typer.Option(
            help=f"Share held out for validation, 0 up to but not 1. Default: {_SHARE}, and of fewer than {_MANY:,} "
            f"records so much that about {_HELD_OUT} are, but no more than {_LARGEST_SHARE}."
        ),
    ] = None,
    split_by: Annotated[
        str, typer.Option(help="What the split hashes: sequence, id, or cluster (no cluster is on both sides).")
    ] = "sequence",
    clusters: Annotated[
        Path | None,
        typer.Option(
            help="For --split-by cluster: table of MMseqs2, representative and member on each line; also compressed. "
            "Without it the headers name the clusters, UniRef50_... or UniRef90_..."
        ),
    ] = None,
    homology: Annotated[
        bool, typer.Option(help="Remove training proteins that resemble a validation protein, by MMseqs2.")
    ] = True,
    min_sequence_identity: Annotated[float, typer.Option(help="Share of identical residues that is too alike.")] = 0.5,
    min_coverage: Annotated[float, typer.Option(help="Share of both proteins that must be aligned for that.")] = 0.8,
    sensitivity: Annotated[float, typer.Option(help="Of MMseqs2's prefilter, 1 (fast) to 7.5.")] = 7.0,
    mmseqs_memory: Annotated[str, typer.Option(help="Limit for MMseqs2's index, such as 4G.")] = "4G",
    min_length: Annotated[
        int, typer.Option(help="Shorter proteins are rejected, residues.", min=1, max=LONGEST_RESIDUES)
    ] = 1,
    max_length: Annotated[
        int | None,
        typer.Option(
            help=f"For --long split or drop: longer proteins are long, residues. Default: {MAX_LENGTH}.",
            min=1,
            max=LONGEST_RESIDUES,
        ),
    ] = None,
    long: Annotated[
        str,
        typer.Option(
            help="crop: kept whole, training takes a random part. split: cut into chunks of nearly equal length, with "
            "terminus tokens at the protein's true ends alone. drop: rejected."
        ),
    ] = "crop",
    values: Values = "json",
    field: Field = "sequence",
    keys: Keys = "numbers",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes; the result does not depend on it. Default: one per core.", min=1, max=MOST_WORKERS
        ),
    ] = None,
) -> None:
    """Prepares raw proteins for training; prints what became of every record."""
    drop_above, cut_at = limits(long, max_length)
    check_gaps(gaps)
    alike = Homology(min_sequence_identity, min_coverage, sensitivity, mmseqs_memory)
    layout, sources = Layout(values, field, keys), expand(inputs)
    check_outputs([output / name for name in FILES], [*map(data_file, sources), *filter(None, [clusters])])
    split = Split(_SHARE if validation is None else validation, split_by, clusters)
    split = replace(split, share=share_to_hold_out(validation, count_records(sources, layout, _MANY)))
    plan = Plan(
        inputs=tuple(sources),
        layout=layout,
        rules=Rules(min_length, drop_above, gaps, split),
        cut_at=cut_at,
        homology=alike if homology and split.share else None,
    )
    manifest = Preparation(plan, output, workers or available_cores()).run()
    print_fates(output, manifest)


def share_to_hold_out(asked: float | None, num_records: int) -> float:
    """The share that is asked for, or one that suits the number of records, which is exact below _MANY.

    Raises ValueError if less than one record would be held out, on average.
    """
    share = min(_LARGEST_SHARE, max(_SHARE, _HELD_OUT / num_records)) if asked is None else asked
    if 0 < share * num_records < 1 and num_records < _MANY:
        more = f"--validation {5 / num_records:.2g}, for about 5" if num_records >= 10 else "more records"
        raise ValueError(
            f"--validation {share}: is less than one of {num_records:,} records; give {more}, or 0 for none"
        )
    return float(f"{share:.3g}") if asked is None else share


def limits(long: str, max_length: int | None) -> tuple[int | None, int | None]:
    """Residues above which proteins are dropped, and above which they are cut; None: they are not."""
    if long not in LONG:
        raise ValueError(f"--long {long}: expected {', '.join(LONG)}")
    if long == "crop" and max_length is not None:
        raise ValueError(
            "--max-length is for --long split or drop; with crop data.max_length_residues decides in training"
        )
    longest = max_length or MAX_LENGTH
    return longest if long == "drop" else None, longest if long == "split" else None


def print_fates(output: Path, manifest: dict[str, Any]) -> None:
    """Prints what became of the records, for which reasons, and what was written."""
    table = Table("records", "", title=escape(str(output)), title_justify="left")
    table.columns[1].justify = "right"
    for fate, count in manifest["fates"].items():
        table.add_row(fate, f"{count:,}")
        if fate == "rejected":
            for source in manifest["inputs"]:
                for reason, number in source["rejected"].items():
                    table.add_row(f"  {reason}, {escape(source['path'])}", f"{number:,}")
    get_console().print(table)
    for source in manifest["inputs"]:
        if source["left_out"]:
            print(one_line(source["left_out"]))
    print(f"rejected.tsv names the rejected, manifest.json says what was done, histograms.png shows it: {output}")


if __name__ == "__main__":
    run(main)
