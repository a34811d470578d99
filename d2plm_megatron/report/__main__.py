"""d2plm report RUN|SAMPLES --reference corpus.fasta"""

import time
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.console import run
from d2plm_megatron.files import check_outputs, is_file, write_json, write_text
from d2plm_megatron.runs.folder import RunFolder

_SUFFIXES = (".html", ".htm")


Target = Annotated[
    Path, typer.Argument(metavar="RUN|SAMPLES", help="folder of a run, or a FASTA file of generated proteins")
]
Samples = Annotated[
    Path | None, typer.Option(help="generated proteins, FASTA; default RUN/samples.fasta where there is one")
]
Evaluated = Annotated[
    Path | None, typer.Option(help="JSON of an evaluation; default RUN/evaluation.json where there is one")
]
Reference = Annotated[
    Path | None, typer.Option(help="real proteins to compare the samples with, FASTA; family=NAME in a header is told")
]
Show = Annotated[
    list[Path] | None,
    typer.Option(
        help="more to show, wherever it is: JSON of judge or of a comparison, heat maps and scored mutants as CSV, "
        "folders of scored assays; those in the run's folder are shown anyway"
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(help="HTML file to write, and .json beside it; default RUN/report.html, or SAMPLES.report.html"),
]


def main(
    target: Target,
    samples: Samples = None,
    evaluation: Evaluated = None,
    reference: Reference = None,
    show: Show = None,
    output: Output = None,
) -> None:
    """Writes a report of a run, or of samples, as one HTML file that stands alone, and prints the main numbers."""
    begin = time.perf_counter()
    folder = None if is_file(target) else target
    page = output or (target / "report.html" if folder else target.with_name(f"{target.name}.report.html"))
    check_outputs([page])
    if page.suffix not in _SUFFIXES:
        raise ValueError(f"--output {page}: name the HTML file, as in {page.stem}.html; the JSON goes beside it")
    if folder is None and (samples or evaluation):
        raise ValueError(f"{target}: is a file, so a report of samples alone; --samples and --evaluation are of a run")
    samples, evaluation = _inputs(target, samples, evaluation)
    read = [*filter(None, (samples, evaluation, reference)), *(show or ())]
    check_outputs([page, page.with_suffix(".json")], [*RunFolder(folder or target.parent).own_files(), *read])

    from d2plm_megatron.report.results import gather, numbers

    results = gather(folder, samples, evaluation, reference, show or ())
    from d2plm_megatron.report.page import render  # with matplotlib and jinja2
    from d2plm_megatron.report.table import print_report

    write_json(page.with_suffix(".json"), numbers(results))
    write_text(page, render(results, page))
    print_report(results)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - begin:.1f} s)")


def _inputs(target: Path, samples: Path | None, evaluation: Path | None) -> tuple[Path | None, Path | None]:
    """The samples and the evaluation: those that are named, else those of the run."""
    if is_file(target):
        return target, None
    run = RunFolder(target)
    return samples or _if_there(run.samples), evaluation or _if_there(run.evaluation)


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


if __name__ == "__main__":
    run(main)
