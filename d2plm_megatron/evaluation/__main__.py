"""python -m d2plm_megatron.evaluation CHECKPOINT --data PREFIX"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import one_of
from d2plm_megatron.console import run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.files import check_outputs
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.tensor_index import EMA, RAW


def main(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint, or of a run (its best checkpoint)")],
    data: Annotated[str, typer.Option(help="prefix of the held-out proteins: PREFIX.bin and PREFIX.idx")],
    output: Annotated[Path | None, typer.Option(help="JSON file to write; default CHECKPOINT/evaluation.json")] = None,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="of noise for each protein; more shrink the error")] = 8,
    max_proteins: Annotated[int, typer.Option(min=1, help="proteins to look at, a fixed sample")] = 1_000_000,
    weights: Annotated[str, typer.Option(help="ema (moving average) or raw (as trained)")] = EMA,
    precision: Annotated[str | None, typer.Option(help="bf16 or fp32; default bf16 on a GPU, fp32 on a CPU")] = None,
) -> None:
    """Measures the perplexity of held-out proteins, as a table and as JSON."""
    one_of("--weights", weights, (EMA, RAW))
    one_of("--precision", precision or "fp32", ("bf16", "fp32"))
    path = output or RunFolder(checkpoint).evaluation
    check_outputs([path], [*RunFolder(checkpoint).own_files(), *files_of(data)])
    opened = Checkpoint.open(checkpoint)
    import torch  # which takes seconds, that nobody should wait for who has mistyped something

    from d2plm_megatron.evaluation.evaluate import evaluate, print_evaluation, write_evaluation

    precision = precision or ("bf16" if torch.cuda.is_available() else "fp32")
    result = evaluate(opened, data, draws, max_proteins, weights, precision)
    print_evaluation(result)
    write_evaluation(result, path)
    print(path)


if __name__ == "__main__":
    run(main)
