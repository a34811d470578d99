"""Training throughput: ours, Hugging Face's ESM-2, and the same encoder in plain PyTorch, in turns, on one machine.

    python -m benchmarks.training --data PREFIX --json figures.json

Every contender trains the same model on the same proteins, drawn at random and cropped to 1022 residues, in fp32 or
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
import platform
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.alternation import Timing, alternate
from benchmarks.contenders import CONTENDERS, Job
from d2plm_megatron import alphabet
from d2plm_megatron.config import MODEL_SIZES, Parallel, one_of
from d2plm_megatron.console import progress, run
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.model.encoder import DTYPES
from d2plm_megatron.parallel.processes import started
from d2plm_megatron.sizing import GIB, training_flops
from d2plm_megatron.training.interval import peak_flops

LOG_LENGTH_MEAN, LOG_LENGTH_STD = 5.55, 0.72
"""Log-normal fitted to the lengths in residues of 9,006 proteins of UniRef90 (2026), by their mean and deviation."""
SHORTEST, LONGEST = 12, 1022
NUM_SIMULATED = 4000

SIZES = tuple(name for name in MODEL_SIZES if name.startswith("esm2_"))
REFERENCE = "Hugging Face, padded"


@dataclass(frozen=True)
class Figures:
    """What the table shows of a contender: rates in real tokens per second, the ratio to Hugging Face, shares, GiB."""

    contender: str
    tokens_per_second: float
    slowest_round: float
    fastest_round: float
    ratio: float
    mfu: float
    padding: float
    peak_gib: float


def main(
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda where there is one)")] = None,
    size: Annotated[str, typer.Option(help=f"of the model: {', '.join(SIZES)}")] = "esm2_8m",
    steps: Annotated[int, typer.Option(min=1, help="batches, each trained on once per round")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="of every contender; the table shows medians")] = 5,
    tokens_per_pack: Annotated[int, typer.Option(min=1024, help="tokens of a pack, the batch of a step")] = 16384,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
    data: Annotated[
        str | None, typer.Option(help="prefix of real proteins (default: random ones with UniRef90's lengths)")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", help="file to write the figures to, as JSON")] = None,
) -> None:
    """Measures how fast ESM-2 trains: with this package, with Hugging Face, and in plain PyTorch."""
    device = chosen_device(device)
    one_of("--size", size, SIZES)
    one_of("--precision", precision, tuple(DTYPES))
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("transformers is missing: pip install 'd2plm-megatron[dev]'")
    with tempfile.TemporaryDirectory() as folder:
        prefix = data or write_simulated(Path(folder) / "proteins")
        job = Job(size, prefix, tokens_per_pack, steps, precision, device)
        num_proteins, padding = len(job.proteins), padding_shares(job)
        peak_before = measured_peak(job)
        with progress("rounds", total=(rounds + 1) * len(CONTENDERS)) as advance:
            timings = alternate(job, CONTENDERS, rounds, lambda: advance(1))
    peak = max(peak_before, measured_peak(job))
    figures = [summary(name, timings, job, peak, padding[name]) for name in CONTENDERS]
    note = f"{steps} batches, {num_proteins} proteins, {num_tokens(job):,} tokens a round; median of {rounds} rounds"
    show(f"training {size}, {precision}: {note}", figures)
    print(machine(device))
    if output is not None:
        details = {"machine": machine(device), "note": note, "tokens_per_pack": tokens_per_pack, "size": size}
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


def write_simulated(prefix: Path) -> str:
    """Writes random proteins with the lengths of real ones; returns the prefix."""
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(LOG_LENGTH_MEAN, LOG_LENGTH_STD, NUM_SIMULATED).astype(int)
    with IndexedWriter(prefix) as writer:
        for length in lengths.clip(SHORTEST, LONGEST):
            residues = generator.integers(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, length)
            writer.add(residues.astype(np.uint8))
    return str(prefix)


def num_tokens(job: Job) -> int:
    """Residues and end tokens of a round."""
    return sum(len(ids) for ids in job.proteins)


def padding_shares(job: Job) -> dict[str, float]:
    """Of each contender the share of its batches that is padding."""
    packed = job.num_batches * job.tokens_per_pack
    padded = sum(inputs.numel() for inputs, _ in job.padded())
    return {name: 1 - num_tokens(job) / (padded if name == REFERENCE else packed) for name in CONTENDERS}


def measured_peak(job: Job) -> float:
    """Operations per second of the machine, at best."""
    with started(Parallel()) as processes:
        return peak_flops(processes.device, DTYPES[job.precision])


def summary(name: str, timings: dict[str, Timing], job: Job, peak: float, padding: float) -> Figures:
    """Medians over the rounds; the ratio is that of each round, in which the machine was much the same for all."""
    seconds = timings[name].seconds
    tokens, operations = num_tokens(job), training_flops(job.recipe.model, num_tokens(job), sum_squared_lengths(job))
    ratios = [theirs / own for theirs, own in zip(timings[REFERENCE].seconds, seconds, strict=True)]
    return Figures(
        contender=name,
        tokens_per_second=tokens / median(seconds),
        slowest_round=tokens / max(seconds),
        fastest_round=tokens / min(seconds),
        ratio=median(ratios),
        mfu=operations / median(seconds) / peak,
        padding=padding,
        peak_gib=timings[name].peak_bytes / GIB,
    )


def sum_squared_lengths(job: Job) -> int:
    """What attention costs."""
    return sum(len(ids) ** 2 for ids in job.proteins)


def show(title: str, figures: list[Figures]) -> None:
    """Prints the table."""
    table = Table(title=title)
    columns = ("contender", "tokens/s", "slowest", "fastest", "to Hugging Face", "MFU", "padding", "peak memory")
    for column in columns:
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in figures:
        rates = (f"{rate:,.0f}" for rate in (row.tokens_per_second, row.slowest_round, row.fastest_round))
        shares = (f"{row.ratio:.2f} x", f"{row.mfu:.1%}", f"{row.padding:.1%}", f"{row.peak_gib:.2f} GiB")
        table.add_row(row.contender, *rates, *shares)
    Console(width=110).print(table)


def machine(device: str) -> str:
    """What was measured on, with what, and when."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "megatron-core", "transformers")]
    processor = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{processor}, {cores}; {', '.join(versions)}; {datetime.now(UTC):%Y-%m-%d}"


def cpu_name() -> str:
    """The model of the processor."""
    lines: list[Any] = []
    if Path("/proc/cpuinfo").exists():
        lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else platform.processor()


if __name__ == "__main__":
    run(main)
