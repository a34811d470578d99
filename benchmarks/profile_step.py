"""Where a step of a recipe spends its time: its rate, its memory, where the host waits for the GPU, which kernels run.

    python -m benchmarks.profile_step model=450m_time objective=flow_matching --json step.json

Takes overrides as recipes do, in one process or under torchrun. Reading is left out: batches of random proteins, with
the lengths of UniRef90's, are in memory before the clock starts. On a CPU there is nothing to wait for, and the kernels
are torch's operations.
"""

import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.autograd import DeviceType

from benchmarks.machine import machine
from benchmarks.random_proteins import write_simulated
from d2plm_megatron.config import Data, Recipe, Train
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.sizing import GIB, training_flops
from d2plm_megatron.console import run
from d2plm_megatron.data.loader import GlobalBatch, global_batches
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.model.encoder import DTYPES
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.launched import check_batch
from d2plm_megatron.parallel.processes import Processes, parallel_context
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.profiler import torch_profile
from d2plm_megatron.training.step import run_packs
from d2plm_megatron.training.throughput import peak_flops

BASE = Recipe(name="profile", data=Data(tokens_per_pack=16_384), train=Train(global_batch_tokens=65_536))
WARM_UP = 3
"""Steps before the clock starts: the first ones look for kernels and make the state of the optimizer."""
NUM_KERNELS = 30


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What took time in one step, on the device; on a CPU an operation of torch, without those that it calls."""

    name: str
    calls: int
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class StepProfile:
    """Of all processes, but for the memory, the waits and the kernels, which are of the first one.

    Attributes:
        seconds_per_step: the mean.
        tokens_per_second: without padding.
        tflops: operations that the model needs, per second, in 10^12.
        mfu: their share of what the devices can do.
        peak_gib: memory allocated at most, on a GPU.
        host_waits: by line of code, how often the host waits for the GPU in a step.
        kernels: those that take longest, longest first.
    """

    seconds_per_step: float
    tokens_per_second: float
    tflops: float
    mfu: float
    peak_gib: float
    host_waits: dict[str, int]
    kernels: list[Kernel]


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="key=value", help="of the recipe")] = None,
    steps: Annotated[int, typer.Option(min=1, help="that are timed")] = 6,
    output: Annotated[Path | None, typer.Option("--json", help="file to write the figures to, as JSON")] = None,
) -> None:
    """Profiles the training step of a recipe."""
    chosen = resolve(BASE, overrides or [])
    with tempfile.TemporaryDirectory() as folder, parallel_context(chosen.parallel) as processes:
        prefix = chosen.data.train or write_simulated(Path(folder) / "proteins")
        recipe = replace(chosen, data=replace(chosen.data, train=prefix))
        check_batch(recipe, processes.data_size)
        found = profiled(recipe, processes, steps)
        if not processes.is_main:
            return
        where = machine("torch", "megatron-core", device=processes.device.type)
        show(" ".join(overrides or ["the default recipe"]), found)
        print(where)
    if output is not None:
        details = {"machine": where, "overrides": overrides or [], "processes": processes.world_size, "steps": steps}
        output.write_text(json.dumps({**details, **asdict(found)}, indent=2) + "\n")


def profiled(recipe: Recipe, processes: Processes, num_steps: int) -> StepProfile:
    """Takes steps: some to warm up, those that are timed, one that counts waits, and one that lists kernels."""
    batches = batches_of(recipe, processes, WARM_UP + num_steps + 2)
    engine, objective = Engine(recipe, processes), build(recipe.objective)
    on_gpu = processes.device.type == "cuda"

    def step(number: int) -> None:
        engine.prepare(number)
        packs = batches[number].packs
        sums = run_packs(engine.wrapped, objective, packs, processes.device, recipe.train.seed, train=True)
        engine.update(sums.loss, flags=(False, False))

    seconds = timed(step, num_steps, on_gpu)
    peak_bytes = torch.cuda.max_memory_allocated() if on_gpu else 0
    with host_waits() as waits:
        step(WARM_UP + num_steps)
    with torch_profile(processes.device) as profiler:
        step(WARM_UP + num_steps + 1)
        synchronize(on_gpu)
    clocked = batches[WARM_UP : WARM_UP + num_steps]
    operations = sum(training_flops(recipe.model, batch.num_tokens, batch.sum_squared_lengths) for batch in clocked)
    return StepProfile(
        seconds_per_step=seconds / num_steps,
        tokens_per_second=sum(batch.num_tokens for batch in clocked) / seconds,
        tflops=operations / seconds / 1e12,
        mfu=operations / seconds / peak_flops(processes.device, DTYPES[recipe.train.precision]),
        peak_gib=peak_bytes / GIB,
        host_waits=dict(waits.most_common()),
        kernels=slowest(profiler.key_averages(), on_gpu),
    )


def batches_of(recipe: Recipe, processes: Processes, number: int) -> list[GlobalBatch]:
    """The first global batches of the training data."""
    stream = PackStream.open(recipe.data, recipe.train.seed)
    packs_per_batch = recipe.train.global_batch_tokens // recipe.data.tokens_per_pack
    source = global_batches(stream, Position(), packs_per_batch, processes.data_rank, processes.data_size)
    return list(islice(source, number))


def timed(step: Callable[[int], None], num_steps: int, on_gpu: bool) -> float:
    """Seconds that the steps take after the warm-up; the memory that they need is counted from there on, too."""
    for number in range(WARM_UP):
        step(number)
    synchronize(on_gpu)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    for number in range(WARM_UP, WARM_UP + num_steps):
        step(number)
    synchronize(on_gpu)
    return time.perf_counter() - begin


def synchronize(on_gpu: bool) -> None:
    """Waits for the GPU, where there is one."""
    if on_gpu:
        torch.cuda.synchronize()


@contextmanager
def host_waits() -> Iterator[Counter[str]]:
    """Counts by line of code where the host waits for the GPU within the block; without a GPU nowhere."""
    found: Counter[str] = Counter()
    if not torch.cuda.is_available():
        yield found
        return
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told = [warning for warning in seen if "synchroniz" in str(warning.message)]
    found.update(f"{warning.filename.rpartition('site-packages/')[2]}:{warning.lineno}" for warning in told)


def slowest(events: Any, on_gpu: bool) -> list[Kernel]:
    """Of what torch.profiler has averaged by name, the part that took longest."""
    if on_gpu:
        times = [(event, event.self_device_time_total) for event in events if event.device_type == DeviceType.CUDA]
    else:
        times = [(event, event.self_cpu_time_total) for event in events]
    longest = sorted(times, key=lambda pair: -pair[1])[:NUM_KERNELS]
    return [Kernel(name=event.key, calls=event.count, milliseconds=micros / 1e3) for event, micros in longest]


def show(title: str, found: StepProfile) -> None:
    """Prints the figures."""
    print(
        f"{title}: {found.seconds_per_step:.4f} s per step, {found.tokens_per_second:,.0f} tokens/s, "
        f"{found.tflops:.3g} TFLOP/s, MFU {found.mfu:.1%}, peak memory {found.peak_gib:.2f} GiB"
    )
    for place, number in found.host_waits.items():
        print(f"the host waits {number} times a step at {place}")
    table = Table("kernel", "calls", "ms", title="kernels of a step")
    for kernel in found.kernels:
        table.add_row(kernel.name, f"{kernel.calls:,}", f"{kernel.milliseconds:.3f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    run(main)
