"""Raw proteins to training data in one command: cleaned, without duplicates, split, without homologs across the split.

    d2plm prepare --input uniref50.fasta.gz --output data/uniref50

writes train and validation as .lmdb and as .bin/.idx, manifest.json (what was done), histograms.png and rejected.tsv;
with --test 0.01 also a third side, test, that resembles neither. Memory does not grow with the input. After a kill the
same command goes on. The same input and parameters give the same bytes on any number of workers.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import get_console
from rich.markup import escape
from rich.table import Table

from d2plm_megatron.console import one_line, run
from d2plm_megatron.cores import available_cores
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.mmseqs import SearchOptions

from .formats.input_options import Field, Gaps, Keys, Values
from .formats.inputs import count_records, expand
from .formats.lmdb_values import Layout
from .formats.proteins_lmdb import data_file
from .preparation import options
from .preparation.clean_blocks import Rules
from .preparation.hold_out import DEFAULT_FRACTION, MANY_RECORDS, HoldOut
from .preparation.homologs import comparisons
from .preparation.plan import Plan
from .preparation.stages import FILES, Preparation


def main(
    inputs: options.Inputs,
    output: options.Output,
    gaps: Gaps = "skip",
    validation: options.Validation = None,
    test: options.Test = None,
    split_by: options.SplitBy = "sequence",
    clusters: options.ClusterTable = None,
    homology: options.SearchHomologs = True,
    min_sequence_identity: options.MinSequenceIdentity = 0.5,
    min_coverage: options.MinCoverage = 0.8,
    sensitivity: options.Sensitivity = 7.0,
    mmseqs_memory: options.MmseqsMemory = "4G",
    min_length: options.MinLength = 1,
    max_length: options.MaxLength = None,
    long: options.Long = "crop",
    values: Values = "json",
    field: Field = "sequence",
    keys: Keys = "numbers",
    workers: options.Workers = None,
) -> None:
    """Prepares raw proteins for training; prints what became of every record."""
    drop_above, cut_at = options.limits(long, max_length)
    similar = SearchOptions(
        min_sequence_identity=min_sequence_identity,
        min_coverage=min_coverage,
        sensitivity=sensitivity,
        memory=mmseqs_memory,
        max_matches=1,
    )
    layout, sources = Layout(values, field, keys), expand(inputs)
    check_outputs([output / name for name in FILES], [*map(data_file, sources), *filter(None, [clusters])])
    hold_out = HoldOut(
        DEFAULT_FRACTION if validation is None else validation, split_by, clusters, options.of_test(test)
    )
    rules = Rules(min_length, drop_above, gaps, hold_out)
    rules = replace(rules, hold_out=hold_out.suited(validation, count_records(sources, layout, MANY_RECORDS)))
    searched = similar if homology and comparisons(rules.hold_out) else None
    plan = Plan(inputs=tuple(sources), layout=layout, rules=rules, cut_at=cut_at, homology=searched)
    print_outcomes(output, Preparation(plan, output, workers or available_cores()).run())


def print_outcomes(output: Path, manifest: dict[str, Any]) -> None:
    """Prints what became of the records, for which reasons, how they were split, and what was written."""
    table = Table("records", "", title=escape(str(output)), title_justify="left")
    table.columns[1].justify = "right"
    for outcome, count in manifest["outcomes"].items():
        table.add_row(outcome, f"{count:,}")
        if outcome == "rejected":
            for source in manifest["inputs"]:
                for reason, number in source["rejected"].items():
                    table.add_row(f"  {reason}, {escape(source['path'])}", f"{number:,}")
    get_console().print(table)
    for source in manifest["inputs"]:
        if source["left_out"]:
            print(one_line(source["left_out"]))
    print(describe_split(manifest["parameters"]))
    print(f"rejected.tsv names the rejected, manifest.json says what was done, histograms.png shows it: {output}")


def describe_split(parameters: dict[str, Any]) -> str:
    """A sentence about what was held out and what that took out of the other sides, from a manifest's parameters."""
    hold_out, homology = parameters["rules"]["hold_out"], parameters["homology"]
    shares = {"validation": hold_out["fraction"], "test": hold_out.get("test", 0)}
    sides = [name for name, share in shares.items() if share]
    if not sides:
        return "nothing held out for validation"
    relatives = (
        f"{'training and validation' if sides[1:] else 'training'} proteins at least "
        f"{homology['min_sequence_identity']:.0%} identical to one of these over at least "
        f"{homology['min_coverage']:.0%} of both are removed"
        if homology
        else f"relatives of {' and '.join(sides)} stay in training (--no-homology)"
    )
    shown = " and ".join(f"{100 * shares[name]:.3g}%" + f" for {name}" * ("test" in sides) for name in sides)
    return f"{shown} held out by a hash of the {hold_out['by']}; {relatives}"


if __name__ == "__main__":
    run(main)
