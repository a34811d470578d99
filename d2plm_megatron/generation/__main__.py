"""d2plm generate CHECKPOINT --num-sequences 64 --length 100:200"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import run
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import CheckpointPath, Pipeline, Precision, Tensor, Weights, opened
from d2plm_megatron.runs.tensor_index import EMA

MOST = 10**9
"""Proteins, or steps: more cannot be meant."""


def main(
    checkpoint: CheckpointPath,
    output: Annotated[Path | None, typer.Option(help="FASTA file to write; default CHECKPOINT/samples.fasta")] = None,
    num_sequences: Annotated[int, typer.Option(min=1, max=MOST, help="proteins to generate")] = 64,
    length: Annotated[str, typer.Option(help="residues: 120, or 100:200 for even odds between the two")] = "100:200",
    steps: Annotated[
        int, typer.Option(min=1, max=MOST, help="steps from noise to protein; more are slower and better")
    ] = 64,
    temperature: Annotated[float, typer.Option(min=0.01, help="below 1 likelier, above 1 more diverse residues")] = 1.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same proteins")] = 0,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    tokens_per_pack: Annotated[int, typer.Option(min=16, help="tokens that go through the encoder at once")] = 8192,
) -> None:
    """Generates proteins with a trained encoder and writes them as FASTA, canonical residues only."""
    shortest, longest = length_range(length)
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    path = output or RunFolder(checkpoint).samples
    check_outputs([path], RunFolder(checkpoint).own_files())
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.generation.generate import generate
    from d2plm_megatron.generation.summary import print_summary
    from d2plm_megatron.inference.model import TrainedModel
    from d2plm_megatron.sampling.config import SamplingConfig

    config = SamplingConfig(
        num_sequences=num_sequences,
        shortest=shortest,
        longest=longest,
        num_steps=steps,
        temperature=temperature,
        seed=seed,
        tokens_per_pack=tokens_per_pack,
    )
    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        samples = generate(model, config, path)
        if model.processes.is_main:
            print_summary(samples, path)


def length_range(text: str) -> tuple[int, int]:
    """The least and the greatest number of residues of "120" or "100:200". Raises ValueError."""
    low, _, high = text.partition(":")
    try:
        shortest, longest = int(low), int(high or low)
    except ValueError:
        shortest = longest = 0
    if not 1 <= shortest <= longest:
        raise ValueError(f"--length {text}: write a number of residues such as 120, or a range such as 100:200")
    if longest > LONGEST_RESIDUES:
        raise ValueError(f"--length {text}: no protein has more than {LONGEST_RESIDUES:,} residues")
    return shortest, longest


if __name__ == "__main__":
    run(main)
