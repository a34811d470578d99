"""Training throughput: ours, Hugging Face's ESM-2, and the same encoder in plain PyTorch, in turns, on one machine.

    python -m benchmarks.training --data PREFIX --json figures.json

Every baseline trains the same model on the same proteins, drawn at random and cropped to 1022 residues, in fp32 or
bf16; a step is forward, backward, clipping to norm 1 and AdamW on one batch. Reading is left out: batches are in memory
before the clock starts.

    ours                   recipes/esm2_8m.py with one pack per step: engine, objective (it masks inside the step),
                           Megatron's optimizer, moving average of the weights
    plain PyTorch, packed  benchmarks/plain_encoder.py on the same packs with the same objective: what Megatron costs
    Hugging Face, padded   EsmForMaskedLM as its users train it: the proteins of all packs, shuffled, in as many batches
                           as there are packs, padded to the longest of the batch and masked before the clock starts, as
                           DataCollatorForLanguageModeling does in a worker. Attention as the model chooses it (sdpa),
                           torch's AdamW in its fused form, which is the Trainer's default, and autocast for bf16. No
                           grouping by length: the Trainer does not do it unless asked to

Rates count residues and end tokens, never padding. MFU is what the model needs for them (sizing.training_flops) over
what the machine can do: by data sheet for bf16 on a known GPU, else the best matrix product before and after.
"""

import importlib.metadata
import importlib.util
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.baselines import BASELINES, Job
from benchmarks.interleaved import Figures, Timing, alternate
from benchmarks.machine import machine
from benchmarks.peak import peak_flops
from benchmarks.random_proteins import write_simulated
from d2plm_megatron.config import MODEL_SIZES, Parallel, one_of
from d2plm_megatron.config.sizing import training_flops
from d2plm_megatron.console import progress, run
from d2plm_megatron.model.encoder import DTYPES
from d2plm_megatron.parallel.processes import parallel_context

SIZES = tuple(name for name in MODEL_SIZES if name.startswith("esm2_"))
REFERENCE = "Hugging Face, padded"


@dataclass(frozen=True, kw_only=True)
class TrainingFigures(Figures):
    """Of a baseline; the ratio is to Hugging Face, mfu the share of the machine's best rate."""

    mfu: float


def main(
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda where there is one)")] = None,
    size: Annotated[str, typer.Option(help=f"of the model: {', '.join(SIZES)}")] = "esm2_8m",
    steps: Annotated[int, typer.Option(min=1, help="batches, each trained on once per round")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="of every baseline; the table shows medians")] = 5,
    tokens_per_pack: Annotated[int, typer.Option(min=1024, help="tokens of a pack, the batch of a step")] = 16384,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16 (default: bf16 on a GPU, else fp32)")] = None,
    data: Annotated[
        str | None, typer.Option(help="prefix of real proteins (default: random ones with UniRef90's lengths)")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", help="file to write the figures to, as JSON")] = None,
) -> None:
    """Measures how fast ESM-2 trains: with this package, with Hugging Face, and in plain PyTorch."""
    device = chosen_device(device)
    precision = precision or ("bf16" if device == "cuda" else "fp32")
    one_of("--size", size, SIZES)
    one_of("--precision", precision, tuple(DTYPES))
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("transformers is missing: pip install 'd2plm-megatron[dev]'")
    with tempfile.TemporaryDirectory() as folder:
        prefix = data or write_simulated(Path(folder) / "proteins")
        job = Job(size, prefix, tokens_per_pack, steps, precision, device)
        num_proteins, padding = len(job.proteins), padding_shares(job)
        peak_before = measured_peak(job)
        with progress("rounds", total=(rounds + 1) * len(BASELINES)) as advance:
            timings = alternate(job, BASELINES, rounds, lambda: advance(1))
    peak = max(peak_before, measured_peak(job))
    figures = [summary(name, timings, job, peak, padding[name]) for name in BASELINES]
    note = f"{steps} batches, {num_proteins} proteins, {num_tokens(job):,} tokens a round; median of {rounds} rounds"
    show(f"training {size}, {precision}: {note}", figures)
    where = machine("torch", "megatron-core", "transformers", device=device)
    print(where)
    if output is not None:
        details = {"machine": where, "note": note, "tokens_per_pack": tokens_per_pack, "size": size}
        seconds = {name: timing.seconds for name, timing in timings.items()}
        rows = [asdict(row) for row in figures]
        output.write_text(json.dumps({**details, "figures": rows, "seconds": seconds}, indent=2) + "\n")


def chosen_device(asked: str | None) -> str:
    """Either "cpu" or "cuda". Hides GPUs from this process and its children when the CPU is asked for."""
    if asked is not None:
        one_of("--device", asked, ("cpu", "cuda"))
    if asked == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device=cuda: there is no GPU here that torch can use")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def num_tokens(job: Job) -> int:
    """Residues and end tokens of a round."""
    return sum(len(ids) for ids in job.proteins)


def padding_shares(job: Job) -> dict[str, float]:
    """Of each baseline the share of its batches that is padding."""
    packed = job.num_batches * job.tokens_per_pack
    padded = sum(inputs.numel() for inputs, _ in job.padded())
    return {name: 1 - num_tokens(job) / (padded if name == REFERENCE else packed) for name in BASELINES}


def measured_peak(job: Job) -> float:
    """Operations per second of the machine, at best."""
    with parallel_context(Parallel()) as processes:
        return peak_flops(processes.device, DTYPES[job.precision])


def summary(name: str, timings: dict[str, Timing], job: Job, peak: float, padding: float) -> TrainingFigures:
    """Of one baseline."""
    own, tokens = timings[name], num_tokens(job)
    operations = training_flops(job.recipe.model, tokens, sum_squared_lengths(job))
    ratio, mfu = own.times_faster_than(timings[REFERENCE]), operations / median(own.seconds) / peak
    return TrainingFigures.of(name, own, tokens, ratio=ratio, padding=padding, mfu=mfu)


def sum_squared_lengths(job: Job) -> int:
    """What attention costs."""
    return sum(len(ids) ** 2 for ids in job.proteins)


def show(title: str, figures: list[TrainingFigures]) -> None:
    """Prints the table."""
    table = Table(title=title)
    columns = ("baseline", "tokens/s", "slowest", "fastest", "to Hugging Face", "MFU", "padding", "peak memory")
    for column in columns:
        table.add_column(column, justify="left" if column == "baseline" else "right")
    for row in figures:
        shares = (f"{row.ratio:.2f} x", f"{row.mfu:.1%}", f"{row.padding:.1%}", f"{row.peak_gib:.2f} GiB")
        table.add_row(row.baseline, *row.rates(), *shares)
    Console(width=110).print(table)


if __name__ == "__main__":
    run(main)
