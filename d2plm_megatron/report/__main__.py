"""python -m d2plm_megatron.report RUN --reference corpus.fasta"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from d2plm_megatron.console import run, show
from d2plm_megatron.files import check_outputs, write_text
from d2plm_megatron.report import formatting
from d2plm_megatron.report.page import render
from d2plm_megatron.report.results import Results, gather, numbers
from d2plm_megatron.report.run_record import measures
from d2plm_megatron.runs.folder import RunFolder


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, with its recipe.yaml")],
    samples: Annotated[
        Path | None, typer.Option(help="generated proteins, FASTA; default RUN/samples.fasta where there is one")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="JSON of an evaluation; default RUN/evaluation.json where there is one")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="real proteins to compare the samples with, FASTA; family=NAME in a header is told"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write, with a .json beside it; default RUN/report.html")
    ] = None,
) -> None:
    """Writes a report of a run as one HTML file that stands alone, its numbers as JSON, and prints the main ones."""
    begin = time.perf_counter()
    page = output or folder / "report.html"
    check_outputs([page])
    if page.suffix not in (".html", ".htm"):
        raise ValueError(f"--output {page}: name the HTML file, as in {page.stem}.html; the JSON goes beside it")
    samples = samples or _if_there(RunFolder(folder).samples)
    evaluation = evaluation or _if_there(RunFolder(folder).evaluation)
    read = [*RunFolder(folder).own_files(), *filter(None, (samples, evaluation, reference))]
    check_outputs([page, page.with_suffix(".json")], read)
    findings = gather(folder, samples, evaluation, reference)
    write_text(page.with_suffix(".json"), json.dumps(numbers(findings), indent=1) + "\n")
    write_text(page, render(findings, page))
    print_report(findings)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - begin:.1f} s)")


def print_report(findings: Results) -> None:
    """Prints the main numbers, and what is left out."""
    found = numbers(findings)
    table = Table(title=found["run"]["name"], show_header=False)
    rows = _run_rows(found["run"])
    if findings.evaluation is not None:
        rows |= _evaluation_rows(findings.evaluation)
    if findings.samples is not None:
        rows |= _sample_rows(found)
    if findings.novelty is not None:
        rows |= _novelty_rows(found["novelty"], found["samples"]["proteins"])
    for name, value in rows.items():
        table.add_row(name, value)
    show(table)
    for text in findings.left_out:
        print(f"left out: {text}")


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


def _run_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "objective": formatting.objective(found["objective"]),
        "parameters": f"{found['parameters']:,}",
        "trained": f"{found['steps']:,} steps, {found['tokens']:,} tokens",
        **({"checkpoints": of} if (of := formatting.of_checkpoints(found["checkpoints"])) else {}),
    }


def _evaluation_rows(found: dict[str, Any]) -> dict[str, str]:
    rows = {
        f"perplexity ({name})": formatting.with_error(measure["perplexity"], measure["perplexity_standard_error"])
        for name, measure in measures(found).items()
    }
    return {**rows, "perplexity (unigram, no context)": f"{found['unigram_perplexity']:.2f}"}


def _sample_rows(found: dict[str, Any]) -> dict[str, str]:
    samples, reference = found["samples"], found.get("reference")
    beside = f" (reference {reference['entropy']:.3f})" if reference else ""
    return {
        "generated": f"{samples['proteins']:,} proteins, {samples['distinct']:,} distinct",
        "lengths": f"{samples['shortest']:,} to {samples['longest']:,} residues",
        "entropy of the residues": f"{samples['entropy']:.3f} nats{beside}",
    }


def _novelty_rows(found: dict[str, Any], num_samples: int) -> dict[str, str]:
    shuffled, natural = found["median_identity_shuffled"], found["median_identity_reference"]
    families = [name for name, count in found["families"].items() if count]
    return {
        "identity to nearest reference": (
            f"{formatting.percent(found['median_identity'])} median, "
            f"{formatting.percent(found['highest_identity'])} highest"
        ),
        "the same, shuffled samples": f"{formatting.percent(shuffled)} median",
        "the same, references among themselves": f"{formatting.percent(natural)} median",
        "recognised (identity above chance)": (
            f"{found['recognised']:,} of {num_samples:,}, above {formatting.percent(found['chance_identity'])}"
        ),
        "families among them": f"{len(families):,} of {len(found['families']):,}",
        "copies of a reference": f"{found['copies']:,}",
    }


if __name__ == "__main__":
    run(main)
