"""d2plm report RUN --reference corpus.fasta"""

import time
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.console import run
from d2plm_megatron.files import check_outputs, write_json, write_text
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

    from d2plm_megatron.report.results import gather, numbers

    results = gather(folder, samples, evaluation, reference)
    from d2plm_megatron.report.page import render  # with matplotlib and jinja2
    from d2plm_megatron.report.table import print_report

    write_json(page.with_suffix(".json"), numbers(results))
    write_text(page, render(results, page))
    print_report(results)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - begin:.1f} s)")


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


if __name__ == "__main__":
    run(main)
