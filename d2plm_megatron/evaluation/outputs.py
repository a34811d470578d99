"""Where what was measured goes: the screen, JSON, a picture, and a table of proteins."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from d2plm_megatron.evaluation.charts import draw_evaluations
from d2plm_megatron.evaluation.compare import Comparison
from d2plm_megatron.evaluation.details import print_details
from d2plm_megatron.evaluation.evaluate import Evaluation, print_evaluation, write_evaluation
from d2plm_megatron.evaluation.table import write_proteins


def told_apart(folders: Sequence[Path]) -> list[str]:
    """The paths of models without what they all begin with: runs/a and runs/b are a and b."""
    parts = [folder.parts for folder in folders]
    columns = zip(*(found[:-1] for found in parts), strict=False)
    alike = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    return [str(Path(*found[alike:])) for found in parts]


def report(
    names: Sequence[str], evaluations: Sequence[Evaluation], output: Path, picture: Path, table: Path | None
) -> None:
    """Prints and writes all that there is to tell of one model, or of several and what tells them apart.

    Args:
        names: of the models, by which they are told apart.
        evaluations: of each, on the same proteins.
        output: JSON to write.
        picture: PNG to write.
        table: .csv or .parquet to write, with a row for each protein.
    """
    numbers = [evaluation.numbers() for evaluation in evaluations]
    if len(evaluations) == 1:
        print_evaluation(evaluations[0])
        print_details(numbers[0])
        write_evaluation(numbers[0], output)
    else:
        comparison = Comparison(names, evaluations)
        comparison.print()
        write_evaluation(comparison.numbers(), output)
    draw_evaluations(list(zip(names, numbers, strict=True)), picture)
    if table is not None:
        write_proteins(evaluations, table)
