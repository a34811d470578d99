"""d2plm metrics plot RUN [RUN ...]"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from d2plm_megatron.console import note, run, show
from d2plm_megatron.files import check_outputs
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.overlay import SUFFIXES, last_values, overlay, read_runs, write

_METRIC = "KIND/NAME as in metrics.jsonl, such as train/lr, or the last word of several names, such as perplexity"


def plot(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN", help="folders of runs")],
    metric: Annotated[list[str], typer.Option(help=f"a panel each: {_METRIC}")] = ["perplexity"],  # noqa: B006
    x: Annotated[str, typer.Option(help="steps, tokens, or hours (of training, without pauses)")] = "steps",
    output: Annotated[list[Path], typer.Option(help="files to write, .html or .png")] = [Path("metrics.html")],  # noqa: B006
) -> None:
    """Draws the logs of runs over one another, and tells the last values of each."""
    if unknown := [path for path in output if path.suffix not in SUFFIXES]:
        raise ValueError(f"--output {unknown[0]}: name a file that ends in {' or '.join(SUFFIXES)}")
    check_outputs(output, [path for folder in folders for path in RunFolder(folder).own_files()])
    runs = read_runs(folders, note)
    figure = overlay(runs, metric, x)
    values = {found.name: last_values(found, metric) for found in runs}
    names = list(dict.fromkeys(name for of_run in values.values() for name in of_run))
    table = Table("run", *names, title="last values")
    for name, of_run in values.items():
        table.add_row(name, *(f"{of_run[key]:.6g}" if key in of_run else "" for key in names))
    show(table, width=120)
    for path in output:
        write(figure, runs, metric, path)
        print(path)


if __name__ == "__main__":
    run(plot)
