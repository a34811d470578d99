"""d2plm evaluate CHECKPOINT --data PREFIX_OR_FASTA"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.files import check_outputs
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import CheckpointPath, Pipeline, Precision, Tensor, Weights, opened
from d2plm_megatron.runs.tensor_index import EMA

Until = Annotated[float | None, typer.Option(help="draw on until the perplexity's error of draws is not above this")]
Window = Annotated[int | None, typer.Option(help="residues at once; default those that the model was trained on")]
MaxLength = Annotated[
    int | None, typer.Option(help="leave out proteins of more residues; the same for all you compare")
]


def main(
    checkpoint: CheckpointPath,
    data: Annotated[str, typer.Option(help="held-out proteins: a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx")],
    output: Annotated[Path | None, typer.Option(help="JSON file to write; default CHECKPOINT/evaluation.json")] = None,
    draws: Annotated[int, typer.Option(help="of noise for each protein; more shrink the error")] = 8,
    until: Until = None,
    seed: Annotated[int, typer.Option(help="of the noise")] = 0,
    max_length: MaxLength = None,
    window: Window = None,
    max_proteins: Annotated[int, typer.Option(help="proteins to look at, a fixed sample")] = 1_000_000,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
) -> None:
    """Measures the perplexity of held-out proteins, as a table and as JSON."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    config = EvaluationConfig(
        num_draws=draws, until=until, seed=seed, window=window, max_length=max_length, max_proteins=max_proteins
    )
    path = output or RunFolder(checkpoint).evaluation
    check_outputs([path], [*RunFolder(checkpoint).own_files(), *files_of(data), Path(data)])
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.evaluation.evaluate import evaluate, print_evaluation, write_evaluation
    from d2plm_megatron.inference.model import TrainedModel

    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        result = evaluate(model, data, config)
        if model.processes.is_main:
            print_evaluation(result)
            write_evaluation(result.numbers(), path)
            print(path)


if __name__ == "__main__":
    run(main)
