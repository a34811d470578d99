"""Samplers side by side on one trained model: speed, evaluations of the network, and what their proteins are like.

    python -m benchmarks.sampling runs/demo --data data/demo/validation --plot samplers.png

The model must start from masks. Quality is the model's own perplexity of the proteins (exp of the negative ELBO per
residue), to be read beside their entropy, as repeats have the lowest; and the divergence of their composition from
that of held-out proteins. The last rows are the same model without the package's sampling (plain_sampling.py).
On one thread, in seconds of CPU, of which a busy machine takes as many.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks import plain_sampling
from benchmarks.machine import machine
from benchmarks.sampling_results import Measured, as_table, draw
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.console import note, run, show
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.evaluation.samples.summary import divergence
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.composition import composition
from d2plm_megatron.sampling.config import Samples, SamplingConfig
from d2plm_megatron.sampling.options import sampler_options

SAMPLERS = [
    "exact", "exact grid=kappa", "euler", "confidence", "confidence noise=1", "entropy", "p2", "p2 eta=0",
    "remdm", "remdm strategy=rescale eta=0.05", "corrector", "adaptive", "adaptive criterion=confidence bound=0.3",
]  # fmt: skip
DRAWS = 4
"""Of noise for each perplexity."""

Row = tuple[str, int, Samples]
"""Name of the sampler, number of steps, what it made, with the seconds of CPU."""


def main(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint, or of a run (its best checkpoint)")],
    data: Annotated[str, typer.Option(help="held-out proteins: PREFIX of PREFIX.bin and PREFIX.idx")],
    proteins: Annotated[int, typer.Option(min=2, help="to generate by each sampler")] = 32,
    length: Annotated[int, typer.Option(min=2, help="residues of each")] = 100,
    steps: Annotated[str, typer.Option(help="numbers of steps")] = "16,64,256",
    plot: Annotated[Path | None, typer.Option(help="picture of quality over evaluations")] = None,
) -> None:
    """Prints a row for each sampler and number of steps."""
    torch.set_num_threads(1)
    held_out = IndexedProteins(Path(data))
    natural = composition(alphabet.decode(held_out[number]) for number in range(min(len(held_out), 2000)))
    found: list[Measured] = []
    with TrainedModel.open(checkpoint) as model:
        for name, number, made in rows(model, proteins, length, [int(text) for text in steps.split(",")]):
            nats = np.log(model.perplexity(made.sequences, num_draws=DRAWS))
            found.append(Measured(name, number, made, nats, divergence(composition(made.sequences), natural)))
            note(f"{name}, {number} steps: {made.seconds:.1f} s")
    show(as_table(found, f"{proteins} proteins of {length} residues"), width=130)
    print(machine("d2plm-megatron", "torch", "megatron-core"))
    if plot:
        draw(found, plot)


def rows(model: TrainedModel, proteins: int, length: int, steps: list[int]) -> Iterator[Row]:
    """What each sampler makes, and what is made without them."""
    for text in SAMPLERS:
        name, *options = text.split()
        sampler = sampler_options([f"sampler={name}", *(f"sampler.{option}" for option in options)])
        for number in steps:
            config = SamplingConfig(
                num_sequences=proteins, shortest=length, longest=length, num_steps=number, temperature=1.0, seed=0,
                tokens_per_pack=8192, sampler=sampler,
            )  # fmt: skip
            begin = time.process_time()
            made = model.sample(config)
            yield text, number, replace(made, seconds=time.process_time() - begin)
    for number in steps:
        yield "plain: at every step", number, plainly(model, plain_sampling.at_every_step, [proteins], length, number)
    alone = plainly(model, plain_sampling.one_residue_a_step, [1] * proteins, length, length)
    yield "plain: a residue a step, one protein at a time", length, alone


def plainly(model: TrainedModel, walk: Callable, packs: list[int], length: int, num_steps: int) -> Samples:
    """What a plain walk makes of packs of so many proteins."""
    found: list[str] = []
    begin, asked = time.process_time(), 0.0
    for number, size in enumerate(packs):
        pack: TokenBatch
        [pack] = pack_sequences([length] * size, size * (length + 2)).packs
        tokens_T, evaluations = walk(pack, model.logits, model.path, num_steps, number)
        asked += evaluations * size
        found += [alphabet.decode(ids) for ids in readouts.by_protein(pack, tokens_T)]
    return Samples(found, asked / len(found), time.process_time() - begin)


if __name__ == "__main__":
    run(main)
