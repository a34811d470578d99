"""What every command that takes a trained model asks for, and the checks that need no torch."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import one_of
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.tensor_index import EMA, RAW

PRECISIONS = ("bf16", "fp32")
MOST_DRAWS = 10_000
"""Of noise, for each protein: more cannot be meant."""

CheckpointPath = Annotated[Path, typer.Argument(help="folder of a checkpoint, or of a run (its best checkpoint)")]
Weights = Annotated[str, typer.Option(help="ema (moving average) or raw (as trained)")]
Precision = Annotated[str | None, typer.Option(help="bf16 or fp32; default bf16 on a GPU, fp32 on a CPU")]
Tensor = Annotated[int, typer.Option(min=1, help="processes that share each layer, under torchrun or srun")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there already")]
TokensPerPack = Annotated[int, typer.Option(min=16, help="tokens that go through the encoder at once")]
Draws = Annotated[int, typer.Option(min=1, max=MOST_DRAWS, help="of noise for each protein; more shrink the error")]
Seed = Annotated[int, typer.Option(help="of all that is drawn: the same seed gives the same result")]
Window = Annotated[
    int | None, typer.Option(min=2, help="residues that are seen at once of a longer protein; default as in training")
]
Pipeline = Annotated[int, typer.Option(min=1, help="processes that share the layers, one after the other")]


def check_model(weights: str, precision: str | None, prefix: str = "") -> None:
    """Raises ValueError naming what is not allowed, with a prefix such as "--"."""
    one_of(f"{prefix}weights", weights, (EMA, RAW))
    if precision is not None:
        one_of(f"{prefix}precision", precision, PRECISIONS)


def opened(path: Path, weights: str, precision: str | None) -> Checkpoint:
    """The checkpoint that the options of a command mean. Raises ValueError saying what is wrong with them."""
    check_model(weights, precision, prefix="--")
    return Checkpoint.open(path)
