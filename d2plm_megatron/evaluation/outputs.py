"""Where what was measured goes: the screen, JSON, a picture, and a table of proteins."""

from collections.abc import Sequence
from pathlib import Path

from d2plm_megatron.evaluation.charts import draw_evaluations
from d2plm_megatron.evaluation.compare import Comparison
from d2plm_megatron.evaluation.details import print_details
from d2plm_megatron.evaluation.evaluate import Evaluation, print_evaluation, write_evaluation
from d2plm_megatron.evaluation.table import write_proteins


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
