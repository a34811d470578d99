"""d2plm evaluate CHECKPOINT --data PREFIX_OR_FASTA"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.files import check_outputs
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import CheckpointPath, Pipeline, Precision, Tensor, Weights, opened
from d2plm_megatron.runs.tensor_index import EMA


def main(
    checkpoint: CheckpointPath,
    data: Annotated[str, typer.Option(help="held-out proteins: a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx")],
    output: Annotated[Path | None, typer.Option(help="JSON file to write; default CHECKPOINT/evaluation.json")] = None,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="of noise for each protein; more shrink the error")] = 8,
    max_proteins: Annotated[int, typer.Option(min=1, help="proteins to look at, a fixed sample")] = 1_000_000,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
) -> None:
    """Measures the perplexity of held-out proteins, as a table and as JSON."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    path = output or RunFolder(checkpoint).evaluation
    check_outputs([path], [*RunFolder(checkpoint).own_files(), *files_of(data), Path(data)])
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.evaluation.evaluate import evaluate, print_evaluation, write_evaluation
    from d2plm_megatron.inference.model import TrainedModel

    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        result = evaluate(model, data, draws, max_proteins)
        if model.processes.is_main:
            print_evaluation(result)
            write_evaluation(result, path)
            print(path)


if __name__ == "__main__":
    run(main)
