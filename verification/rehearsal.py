"""A rehearsed rank is the real one: each layout is rehearsed, and stepped over gloo, and counted by the same ledger.

    python -m verification.rehearsal

What is kept between steps, what travels by collective and group, and the floating-point operations must be the same to
the byte and to the operation, on every rank; the peak of the passes within PEAK. The real tensors are those of a CPU,
so the rehearsal takes the kernels of one, too.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.machine import machine
from d2plm_megatron.config import MODEL_SIZES, Data, Recipe, Train
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.console import progress, run, show
from d2plm_megatron.rehearsal.rank import RehearsedRank, rehearse_rank

PEAK = 0.02
"""How far the peak of the passes may be from the real one."""

TIMES = 2
"""That real steps are taken: a thread of gloo may hold a tensor for a moment longer, so that the lower peak counts."""

LENGTH = 128
"""Tokens of a protein."""


OTHER = 1 << 14
"""Bytes beside weights, gradients, optimizer and EMA that may be kept more: the states of generators, which FSDP has
from another rank."""

BASE = Recipe(
    model=MODEL_SIZES["tiny"],
    data=Data(max_length_residues=510, tokens_per_pack=512),
    train=Train(global_batch_tokens=4096, precision="fp32"),
)
_TENSOR = ("parallel.tensor=2", "parallel.sequence=true")
_FSDP = (*_TENSOR, "parallel.sharding=parameters")
_ESM2 = ("model.head=esm", "model.bias=true", "model.activation=gelu", "model.normalization=layernorm", "objective=mlm")

CASES: dict[str, tuple[int, tuple[str, ...]]] = {
    "PP2": (2, ("parallel.pipeline=2",)),
    "DP2xTP2+optimizer": (4, (*_TENSOR, "parallel.sharding=optimizer")),
    "DP2xTP2+FSDP": (4, _FSDP),
    "DP2xTP2": (4, (*_TENSOR, "parallel.sharding=none")),
    "DP2xPP2": (4, ("parallel.pipeline=2",)),
    "DP2xPP2, bf16, ESM-2": (4, ("parallel.pipeline=2", "train.precision=bf16", *_ESM2)),
    "DP2xTP2+FSDP, bf16, time": (4, (*_FSDP, "train.precision=bf16", "model.time_conditioning=true")),
    "DP2xTP2+optimizer, frozen": (4, (*_TENSOR, "train.trainable=decoder.layers.3.*")),
}
"""(number of processes, overrides of BASE). DP: data parallel, with the distributed optimizer or Megatron-FSDP where
said; TP: tensor and sequence, PP: pipeline parallel."""


def recipe_of(name: str) -> Recipe:
    """The recipe of a case."""
    return resolve(BASE, list(CASES[name][1]))


def rehearsed(name: str, rank: int) -> RehearsedRank:
    """A rank of a case."""
    return rehearse_rank(recipe_of(name), rank, CASES[name][0], length=LENGTH, as_on_gpus=False)


def witnessed(names: Collection[str], advance: Callable[[], object] = lambda: None) -> dict[str, list[dict[str, Any]]]:
    """What was counted in real steps: of each case, of every rank, the fields of RehearsedRank but `orders`.

    Args:
        names: of CASES.
        advance: called after each number of processes.

    Raises RuntimeError with the processes' output when one of them fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted({CASES[name][0] for name in names}):
            _launch(size, [name for name in names if CASES[name][0] == size], folder)
            advance()
        return {name: [_least(folder, name, rank) for rank in range(CASES[name][0])] for name in names}


def file_of(name: str, rank: int, time: int) -> str:
    """Where a rank of a case writes what it counted."""
    return f"{name}_{rank}_{time}.json"


def _least(folder: str, name: str, rank: int) -> dict[str, Any]:
    """What a rank counted the time that its peak was lowest."""
    counted = [json.loads(Path(folder, file_of(name, rank, time)).read_text("utf-8")) for time in range(TIMES)]
    return min(counted, key=lambda one: one["peak_passes"])


def _launch(size: int, names: list[str], folder: str) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*torchrun, "-m", "verification.rehearsal_worker", folder, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{size} processes failed:\n{done.stdout}{done.stderr}")


def differences(found: RehearsedRank, real: dict[str, Any]) -> Iterator[str]:
    """In words, what of a rehearsed rank is not as it was counted in real steps."""
    told = json.loads(json.dumps(asdict(replace(found, orders={}))))
    for key in (*told["kept"], "traffic", "flops"):
        here, there = (counted["kept"].get(key, counted.get(key)) for counted in (told, real))
        if here != there and not (key == "other" and abs(here - there) <= OTHER):
            yield f"{key}: {here} rehearsed, {there} in real steps"
    if not abs(peak_error(found, real)) <= PEAK:
        yield f"peak of the passes: {found.peak_passes:,} bytes rehearsed, {real['peak_passes']:,} in real steps"


def peak_error(found: RehearsedRank, real: dict[str, Any]) -> float:
    """How far the rehearsed peak of the passes is from the real one, as a share of it."""
    return float(found.peak_passes / real["peak_passes"]) - 1


def main() -> None:
    """Rehearses and takes real steps in all layouts, and prints the table. Exit code 1 when anything differs."""
    table = Table("layout", "ranks", "peak of the passes", "its error", title="Rehearsed, beside real steps over gloo")
    failures = []
    with progress("real steps", total=2) as advance:
        real = witnessed(CASES, lambda: advance(1))
    for name in CASES:
        pairs = [(rehearsed(name, rank), told) for rank, told in enumerate(real[name])]
        failures += [f"{name}, rank {found.rank}: {text}" for found, told in pairs for text in differences(found, told)]
        peak = max(found.peak_passes for found, _ in pairs) / 2**20
        error = max((peak_error(*pair) for pair in pairs), key=abs)
        table.add_row(name, str(len(pairs)), f"{peak:.2f} MiB", f"{error:+.1%}")
    show(table)
    print("\n".join(failures) or "kept bytes, traffic and operations are the same on every rank")
    print(machine("torch", "megatron-core"))
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
