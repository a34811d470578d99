"""Batches per second: ours, and torch's DataLoader over Hugging Face datasets, in turns, on one core of one machine.

    python -m benchmarks.loader --data PREFIX --json figures.json

Every baseline delivers all proteins once per round, in another order each time, as tensors that are ready for the
device: ours as packs with all that a TokenBatch holds; the others as ids and attention mask, padded to the longest of
the batch by DataCollatorWithPadding, with as many proteins as a pack holds on average and no worker processes.

    ours                   keyed permutation, crops, packing, reading, checking, tensors
    tokenised on the fly   sequences in a datasets.Dataset, EsmTokenizer when a batch is asked for
    tokenised beforehand   ids in a datasets.Dataset, made by Dataset.map before the clock starts

Rates count residues and end tokens, never padding. Memory is by how much a process grew, libraries that it loads for
the purpose included.

Then the time from opening the files to the first batch, at the start of a run and when it is continued in the middle of
an epoch, for a corpus of 65 million proteins: a synthetic .idx with lengths like those of real proteins, and a .bin
that is a hole of the right size, in whose place one residue is read. The files have just been written, so that they are
read from memory.
"""

import importlib.metadata
import importlib.util
import json
import os
import struct
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.interleaved import Figures, Timing, alternate
from benchmarks.loader_baselines import BASELINES, Job
from benchmarks.machine import machine
from benchmarks.random_proteins import natural_lengths, write_simulated
from d2plm_megatron.config import Data
from d2plm_megatron.console import progress, run
from d2plm_megatron.data.index import HEADER, MAGIC, UINT8, VERSION
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.proteins.alphabet import CANONICAL

LONGEST = 30_000
"""Residues of the longest synthetic protein; longer than any crop, as in UniRef."""


@dataclass(frozen=True)
class Start:
    """What it takes to have the first batch of a large corpus.

    Attributes:
        num_proteins: of the corpus.
        begin_s: seconds from opening the files to the first batch of a run.
        resume_s: likewise, in the middle of the fourth epoch.
        own_mib: memory that both took, without pages of the files.
    """

    num_proteins: int
    begin_s: float
    resume_s: float
    own_mib: float


def main(
    data: Annotated[
        str | None, typer.Option(help="prefix of real proteins (default: random ones with UniRef90's lengths)")
    ] = None,
    tokens_per_pack: Annotated[int, typer.Option(min=1024, help="tokens of a pack")] = 16384,
    rounds: Annotated[int, typer.Option(min=1, help="of every baseline; the table shows medians")] = 5,
    proteins: Annotated[int, typer.Option(min=1, help="of the synthetic corpus whose start is timed")] = 65_000_000,
    output: Annotated[Path | None, typer.Option("--json", help="file to write the figures to, as JSON")] = None,
) -> None:
    """Measures how fast batches are made: by this package, and by torch's DataLoader with Hugging Face datasets."""
    for package in ("datasets", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"{package} is missing: pip install 'd2plm-megatron[dev]'")
    with tempfile.TemporaryDirectory() as folder:
        prefix = data or write_simulated(Path(folder) / "proteins")
        job = Job(prefix, Data(train=prefix, tokens_per_pack=tokens_per_pack))
        with progress("rounds", total=(rounds + 1) * len(BASELINES)) as advance:
            timings = alternate(job, BASELINES, rounds, lambda: advance(1))
        figures = [summary(name, timings, job) for name in BASELINES]
        started = start(Path(folder) / "large", proteins, Data(tokens_per_pack=tokens_per_pack))
    note = f"{len(job.lengths):,} proteins, {job.num_tokens:,} tokens a round; median of {rounds} rounds"
    show(f"batches on one core: {note}", figures)
    print(
        f"{started.num_proteins:,} proteins: first batch after {started.begin_s:.2f} s, continued in the middle of an "
        f"epoch after {started.resume_s:.2f} s, with {started.own_mib:.0f} MiB"
    )
    where = machine("torch", "transformers", "datasets")
    print(where)
    if output is not None:
        rows = [asdict(row) for row in figures]
        seconds = {name: timing.seconds for name, timing in timings.items()}
        details = {"machine": where, "note": note, "figures": rows, "start": asdict(started), "seconds": seconds}
        output.write_text(json.dumps(details, indent=2) + "\n")


def summary(name: str, timings: dict[str, Timing], job: Job) -> Figures:
    """Of one baseline; the ratio is how many times faster ours is."""
    padding = job.padding_of_packs() if name == "ours" else job.padding_of_padded()
    ratio = timings["ours"].times_faster_than(timings[name])
    return Figures.of(name, timings[name], job.num_tokens, ratio=ratio, padding=padding)


def start(prefix: Path, num_proteins: int, options: Data) -> Start:
    """Times the first batch of a synthetic corpus, which is written to PREFIX.bin and PREFIX.idx."""
    write_large(prefix, num_proteins)
    chosen = Data(train=str(prefix), tokens_per_pack=options.tokens_per_pack)
    memory = own_bytes()
    seconds = []
    for epoch, part in ((0, 0.0), (3, 0.5)):
        begin = time.perf_counter()
        stream = PackStream.open(chosen, seed=0)
        assert stream.num_windows is not None
        [proteins] = stream.sources
        proteins.residues = np.broadcast_to(np.uint8(CANONICAL.start), proteins.residues.shape)
        next(global_batches(stream, Position(epoch, int(part * stream.num_windows), 0), 1, 0, 1))
        seconds.append(time.perf_counter() - begin)
    begin_s, resume_s = seconds
    return Start(num_proteins, begin_s, resume_s, (own_bytes() - memory) / 2**20)


def write_large(prefix: Path, num_proteins: int) -> None:
    """Writes the synthetic corpus: 12 bytes a protein on disk, the rest of the .idx and the .bin being holes."""
    lengths = natural_lengths(1 << 20, LONGEST)
    counts = [min(len(lengths), num_proteins - first) for first in range(0, num_proteins, len(lengths))]
    offset = 0
    with Path(f"{prefix}.idx").open("wb") as file, Path(f"{prefix}.bin").open("wb") as residues:
        file.write(HEADER.pack(MAGIC, VERSION, UINT8, num_proteins, num_proteins + 1))
        for count in counts:
            file.write(lengths[:count].astype("<i4").tobytes())
        for count in counts:
            ends = offset + np.cumsum(lengths[:count])
            file.write((ends - lengths[:count]).astype("<i8").tobytes())
            offset = int(ends[-1])
        file.seek(8 * num_proteins, os.SEEK_CUR)  # all boundaries but the last are 0: one protein is one sequence
        file.write(struct.pack("<q", num_proteins))
        residues.truncate(offset)


def own_bytes() -> int:
    """Memory of this process without pages of files, which the system takes back when it needs them."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def show(title: str, figures: list[Figures]) -> None:
    """Prints the table."""
    table = Table(title=title)
    columns = ("baseline", "tokens/s", "slowest", "fastest", "ours is faster", "padding", "memory")
    for column in columns:
        table.add_column(column, justify="left" if column == "baseline" else "right")
    for row in figures:
        table.add_row(row.baseline, *row.rates(), f"{row.ratio:.1f} x", f"{row.padding:.1%}", f"{row.peak_gib:.2f} GiB")
    Console(width=130).print(table)


if __name__ == "__main__":
    run(main)
