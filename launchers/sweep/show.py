"""d2plm sweep show FOLDER"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from d2plm_megatron.console import note, run, show
from d2plm_megatron.files import atomic, check_outputs, write_text
from d2plm_megatron.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".png")


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of a sweep, or of runs")],
    output: Annotated[
        list[Path] | None, typer.Option(help="files to write, .html or .png: the curves, and each swept value")
    ] = None,
) -> None:
    """Tells how far the runs of a sweep are and how good, the best first."""
    outputs = output or []
    if unknown := [path for path in outputs if path.suffix not in SUFFIXES]:
        raise ValueError(f"--output {unknown[0]}: name a file that ends in {' or '.join(SUFFIXES)}")
    check_outputs(outputs, [path for inner in folder.glob("*/") for path in RunFolder(inner).own_files()])

    tell(folder, outputs)


def tell(folder: Path, outputs: Sequence[Path]) -> None:
    """Prints the table of a sweep and writes its pictures. Raises ValueError where there is nothing to draw in them."""
    from .outcomes import common_likelihood, read_outcomes
    from .table import table

    outcomes = read_outcomes(folder, note)
    likelihood = common_likelihood(outcomes)
    columns, rows = table(outcomes, likelihood)
    shown = Table(*columns, title=str(folder))
    for row in rows:
        shown.add_row(*row)
    show(shown, width=140)
    if not outputs:
        return
    if likelihood is None:
        raise ValueError(f"{folder}: no point was validated yet: there is nothing to draw")
    from .pictures import curves, values

    figures = [figure for figure in (curves(outcomes, likelihood), values(outcomes, likelihood)) if figure]
    for path in outputs:
        _write(path, folder, figures, columns, rows)
        print(path)


def _write(path: Path, folder: Path, figures: "list[Figure]", columns: list[str], rows: list[list[str]]) -> None:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from matplotlib.image import imsave

    from d2plm_megatron.runs.charts import svg_data_uri

    from .pictures import stacked

    if path.suffix == ".png":
        with atomic(path) as (temporary,):
            imsave(temporary, stacked(figures), format="png")
        return
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("sweep.html")
    pictures = [svg_data_uri(figure) for figure in figures]
    write_text(path, template.render(title=folder.resolve().name, columns=columns, rows=rows, pictures=pictures))


if __name__ == "__main__":
    run(main)
