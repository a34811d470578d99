"""d2plm checkpoint inspect|verify|strip|consolidate PATH"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from d2plm_megatron.config.parameters import num_padded
from d2plm_megatron.console import progress, run, show
from d2plm_megatron.files import check_outputs
from d2plm_megatron.runs import tensor_index
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.metrics import perplexity
from d2plm_megatron.runs.options import CheckpointPath, Weights, check_model
from d2plm_megatron.runs.tensor_index import EMA

_DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def inspect(path: CheckpointPath) -> None:
    """Shows where a run stood, what the checkpoint holds, and how large it is."""
    checkpoint = Checkpoint.open(path)
    table = Table("", Column(overflow="fold"), title=str(checkpoint.path), show_header=False)
    for name, value in (*_state_rows(checkpoint), *_tensor_rows(checkpoint)):
        table.add_row(name, value)
    show(table)


def verify(path: CheckpointPath) -> None:
    """Reads all files and compares with the checksums in state.json; exit code 2 when something has changed."""
    checkpoint = Checkpoint.open(path)
    files = checkpoint.state["files"]
    size = sum(file["bytes"] for file in files.values())
    with progress("verifying", size, "bytes") as advance:
        checkpoint.check_whole(advance)
    print(f"{checkpoint.path}: whole, {len(files)} files, {size:,} bytes")


def strip(
    path: CheckpointPath,
    output: Annotated[Path, typer.Option(help="folder to write, which must not exist")],
    weights: Weights = EMA,
) -> None:
    """Writes a checkpoint of the EMA or the raw weights alone, to evaluate and sample from, a quarter of the size."""
    check_model(weights, None, prefix="--")
    if output.exists():
        raise ValueError(f"--output {output}: exists already; choose another, or remove it")
    check_outputs([output])
    checkpoint = Checkpoint.open(path)
    checkpoint.check_whole()
    from d2plm_megatron.checkpoint.weights_alone import write_checkpoint  # with torch and Megatron

    write_checkpoint(checkpoint, weights, output)
    print(f"{output}: {_size(output):,} bytes instead of {_size(checkpoint.path):,}")


def consolidate(
    path: CheckpointPath,
    output: Annotated[Path, typer.Option(help="safetensors file to write; replaced if it exists")],
    weights: Weights = EMA,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
) -> None:
    """Writes the EMA or the raw weights as one safetensors file, with the recipe in its header."""
    check_model(weights, precision, prefix="--")
    checkpoint = Checkpoint.open(path)
    check_outputs([output], checkpoint.path.iterdir())
    checkpoint.check_whole()
    from d2plm_megatron.checkpoint.weights_alone import write_file  # with torch and Megatron

    num_tensors = write_file(checkpoint, weights, precision, output)
    print(f"{output}: {num_tensors} tensors, {output.stat().st_size:,} bytes")


def _state_rows(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    state, progress = checkpoint.state, checkpoint.state["progress"]
    yield "run", f"{checkpoint.recipe.name}, {checkpoint.recipe.objective.name}"
    if origin := state["origin"]:
        of_step = f"step {origin['step']:,}, checksum of its index {origin['tensors']}"
        yield "began with", f"the {origin['weights']} weights of {origin['path']}, {of_step}"
    yield "step", f"{progress['step']:,}, of which {progress['step'] - progress['num_updates']:,} were skipped"
    yield "seen", f"{progress['num_proteins']:,} proteins, {progress['num_tokens']:,} tokens"
    yield "position in the data", ", ".join(f"{name} {value:,}" for name, value in progress["position"].items())
    best = progress["best_loss"]
    yield "best validation loss", "none yet" if best is None else f"{best:.4f} nats, perplexity {perplexity(best):.3f}"
    yield (
        "written",
        f"{state['date']}, by {', '.join(f'{name} {number}' for name, number in state['versions'].items())}",
    )
    yield "layout then", ", ".join(f"{name} {value}" for name, value in state["layout"].items() if name != "timeout_s")


def _tensor_rows(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    for group, found in tensor_index.read(checkpoint.path).items():
        numbers = sum(math.prod(item.shape) for item in found.values())
        padding = sum(num_padded(name, item.shape) for name, item in found.items())
        dtypes = {_DTYPES[item.dtype] for item in found.values()}
        padded = f" and {padding:,} of padding" if padding else ""
        yield group, f"{len(found)} tensors, {numbers - padding:,} numbers{padded}, {', '.join(sorted(dtypes))}"
    yield "size", f"{_size(checkpoint.path):,} bytes in {len(checkpoint.state['files']) + 1} files"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    run(inspect, verify, strip, consolidate)
