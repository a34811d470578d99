"""d2plm evaluate CHECKPOINT [CHECKPOINT ...] --data PREFIX_OR_FASTA"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import note, run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import Pipeline, Precision, Tensor, Weights, opened
from d2plm_megatron.runs.tensor_index import EMA

Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT", help="folders of checkpoints or runs; of several, each is compared with the first"
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="JSON to write; default CHECKPOINT/evaluation.json, of several comparison.json")
]
Table = Annotated[Path | None, typer.Option(help="a row for each protein, too: .csv or .parquet to write")]
Pseudo = Annotated[int | None, typer.Option(help="pseudo-perplexity, too, of so many proteins, a fixed sample")]
Until = Annotated[
    float | None, typer.Option(help="draw on until the ELBO perplexity's error of draws is not above this")
]
Window = Annotated[int | None, typer.Option(help="residues at once; default those that the model was trained on")]
Train = Annotated[
    str | None, typer.Option(help="training proteins, to fit n-grams to, as data.train; default those of the run")
]
MaxLength = Annotated[
    int | None, typer.Option(help="leave out proteins of more residues; the same for all you compare")
]


def main(
    checkpoints: Checkpoints,
    data: Annotated[str, typer.Option(help="held-out proteins: a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx")],
    output: Output = None,
    table: Table = None,
    pseudo: Pseudo = None,
    draws: Annotated[int, typer.Option(help="of noise for each protein; more shrink the error")] = 8,
    until: Until = None,
    seed: Annotated[int, typer.Option(help="of the noise")] = 0,
    max_length: MaxLength = None,
    window: Window = None,
    train: Train = None,
    max_proteins: Annotated[int, typer.Option(help="proteins to look at, a fixed sample")] = 1_000_000,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
) -> None:
    """Measures the perplexity of held-out proteins, as tables, a picture and JSON; compares models with the first."""
    found = [opened(checkpoint, weights, precision) for checkpoint in checkpoints]
    config = EvaluationConfig(
        num_draws=draws,
        until=until,
        seed=seed,
        window=_common_window(found) if window is None else window,
        max_length=max_length,
        max_proteins=max_proteins,
        pseudo=pseudo,
        train=train,
    )
    path = output or (RunFolder(checkpoints[0]).evaluation if len(found) == 1 else Path("comparison.json"))
    if table is not None:
        check_suffix(table)
    read = [path for checkpoint in checkpoints for path in RunFolder(checkpoint).own_files()]
    picture = path.with_suffix(".png")
    outputs = [path, picture, *filter(None, [table])]
    check_outputs(outputs, [*read, *files_of(data), Path(data)])
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.evaluation.compare import told_apart
    from d2plm_megatron.evaluation.evaluate import evaluate
    from d2plm_megatron.evaluation.outputs import report
    from d2plm_megatron.inference.model import TrainedModel

    evaluations, parallel = [], Parallel(tensor=tensor, pipeline=pipeline)
    for checkpoint in found:
        with TrainedModel.open(checkpoint, weights, precision, parallel=parallel) as model:
            evaluations.append(evaluate(model, data, config))
            is_main = model.processes.is_main
    if is_main:
        report(told_apart(checkpoints), evaluations, path, picture, table)
        print(*outputs, sep="\n")


def _common_window(checkpoints: Sequence[Checkpoint]) -> int:
    """The least of what the models were trained on, so that all see the same parts of long proteins."""
    trained = [checkpoint.recipe.data.max_length_residues for checkpoint in checkpoints]
    if len(set(trained)) > 1:
        note(f"windows of {min(trained):,} residues for all, the least that a model here was trained on; see --window")
    return min(trained)


if __name__ == "__main__":
    run(main)
