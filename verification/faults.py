"""Kills a run again and again, and in the end compares it with one that nobody touched.

    python -m verification.faults --kills 50

A small run on two processes is killed with SIGKILL at random moments: one of its processes or all at once, in a step or
while a checkpoint is being written, and started again with the same command. At the end its weights, moments, EMA
and metrics must be those of the untouched run, bit for bit, and no kill may have cost more steps than lie between two
checkpoints, or twice as many where they are written in the background.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import psutil
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.random_proteins import short_lengths, write_proteins
from d2plm_megatron.console import progress, run
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from verification.tiny_runs import whole_tensors, without_clocks

RECIPE = Path(__file__).parent.parent / "recipes" / "demo.py"
SAVE_EVERY = 10
STEPS_PER_KILL = 16
SMALL = {
    "model.num_layers": 2,
    "model.hidden_size": 64,
    "model.num_attention_heads": 4,
    "model.ffn_hidden_size": 128,
    "data.max_length_residues": 80,
    "data.tokens_per_pack": 256,
    "train.global_batch_tokens": 1024,
    "optimizer.decay_steps": 1000,
    "train.log_every_steps": 1,
    "train.save_every_steps": SAVE_EVERY,
    "validation.every_steps": 50,
    "validation.max_proteins": 16,
}
ENDLESS = 1_000_000
TAIL_BYTES = 4096
LONGEST_WAIT_S = 300


@dataclass
class Tally:
    """What happened over all kills.

    Attributes:
        kills: by what was killed and when.
        lost: steps that had been logged and had to be taken again, by kill.
        starts: seconds from the command to its first step, by start.
    """

    kills: Counter[str] = field(default_factory=Counter)
    lost: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)


def main(
    kills: Annotated[int, typer.Option(min=1, help="how often the run is killed")] = 50,
    seed: Annotated[int, typer.Option(help="of the moments and victims")] = 0,
    output: Annotated[Path | None, typer.Option("--json", help="file to write the figures to, as JSON")] = None,
) -> None:
    """Kills a training run at random moments and checks that nothing is lost."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_proteins(folder / "proteins", short_lengths(300))
        tally = inject_faults(data, folder, kills, random.Random(seed))
        untouched, killed = (RunFolder(folder / name) for name in ("untouched", "killed"))
        max_steps = last_step(killed) + SAVE_EVERY
        for name in ("killed", "untouched"):
            finish(start(data, folder, name, max_steps, background=True))
        differences = compare(untouched, killed)
    show(tally, max_steps, differences)
    if output is not None:
        output.write_text(json.dumps({**vars(tally), "steps": max_steps, "differences": differences}, indent=1) + "\n")
    if differences:
        raise ValueError("the killed run is not the untouched one")


def start(data: Path, folder: Path, name: str, max_steps: int, background: bool) -> "subprocess.Popen[str]":
    """The run, as a user starts it."""
    options = {**SMALL, "data.train": data, "data.validation": data, "output": folder, "name": name}
    options |= {"train.max_steps": max_steps, "train.async_save": str(background).lower()}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*torchrun, str(RECIPE), *(f"{key}={value}" for key, value in options.items())],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    """Waits for the end. Raises RuntimeError with what was printed when it is a bad one."""
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run failed by itself:\n{printed[-4000:]}")


def inject_faults(data: Path, folder: Path, num_kills: int, chance: random.Random) -> Tally:
    """Starts and kills the run."""
    target, tally = RunFolder(folder / "killed"), Tally()
    with progress("killing", num_kills, "kills") as advance:
        for _ in range(num_kills):
            background, whole = chance.random() < 0.5, chance.random() < 0.5
            in_save = chance.random() < 0.5
            old, begun = identity(target), time.monotonic()
            process = start(data, folder, "killed", ENDLESS, background)
            wait(process, partial(has_begun, target, old))
            tally.starts.append(time.monotonic() - begun)
            let_live(process, target, last_step(target) + chance.randrange(STEPS_PER_KILL), in_save)
            kill(process, whole, chance)
            tally.kills[f"{'all processes' if whole else 'one process'}, in a {'save' if in_save else 'step'}"] += 1
            tally.lost.append(lost_steps(target, background))
            advance(1)
    return tally


def let_live(process: "subprocess.Popen[str]", target: RunFolder, step: int, in_save: bool) -> None:
    """Returns once the run has come to a step, and, if so wished, is writing the next checkpoint."""
    wait(process, lambda: last_step(target) >= step)
    if in_save:
        wait(process, lambda: any(target.checkpoints.glob(".*.incomplete")))


def wait(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    """Returns when the condition holds. Raises RuntimeError when the run ends before, or nothing happens."""
    limit = time.monotonic() + LONGEST_WAIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > limit:
            process.terminate()  # torchrun then ends its processes
            printed, _ = process.communicate()
            raise RuntimeError(f"the run ended, or stood still, before it could be killed:\n{printed[-4000:]}")
        time.sleep(0.002)


def kill(process: "subprocess.Popen[str]", whole: bool, chance: random.Random) -> None:
    """SIGKILL to everything, or to one process of the run, whereupon torchrun ends the other."""
    torchrun = psutil.Process(process.pid)
    trainers = torchrun.children()  # each leads a session of its own, and would live on without torchrun
    for target in (torchrun, *trainers) if whole else (chance.choice(trainers),):
        target.kill()
    process.communicate()


def has_begun(folder: RunFolder, old: int) -> bool:
    """Whether a new start, after the one with the metrics file `old`, has taken a step."""
    return identity(folder) != old and last_step(folder) > checkpoint_step(folder)


def identity(folder: RunFolder) -> int:
    """Of the metrics file, which every start replaces."""
    return folder.metrics.stat().st_ino if folder.metrics.exists() else 0


def last_step(folder: RunFolder) -> int:
    """The last step that has been logged, from the end of the file, which grows long."""
    if not folder.metrics.exists():
        return 0
    with folder.metrics.open("rb") as file:
        file.seek(max(0, folder.metrics.stat().st_size - TAIL_BYTES))
        steps = re.findall(rb'"step": (\d+)[,}]', file.read())
    return int(steps[-1]) if steps else 0


def checkpoint_step(folder: RunFolder) -> int:
    """Where the run would continue."""
    latest = folder.latest()
    return int(latest.name.removeprefix("step_")) if latest else 0


def lost_steps(folder: RunFolder, background: bool) -> int:
    """Steps to be taken again. Raises ValueError when a checkpoint is lost that should have been whole."""
    lost, most = last_step(folder) - checkpoint_step(folder), SAVE_EVERY * (2 if background else 1)
    if lost > most:
        raise ValueError(f"a kill at step {last_step(folder)} cost {lost} steps, more than {most}")
    return lost


def compare(untouched: RunFolder, killed: RunFolder) -> list[str]:
    """What differs at the end: names of tensors, and steps of the metrics without what a clock says."""
    ends = [Checkpoint.open(folder.checkpoints / folder.newest_first()[0].name) for folder in (untouched, killed)]
    first, second = (end.state["progress"] for end in ends)
    differences = [] if first == second else [f"progress {second} instead of {first}"]
    expected, found = (whole_tensors(end.path) for end in ends)
    differences += [name for name in expected if not torch.equal(expected[name], found[name])]
    expected_lines, found_lines = (without_clocks(folder) for folder in (untouched, killed))
    differences += [f"metrics of step {a['step']}" for a, b in zip(expected_lines, found_lines, strict=False) if a != b]
    if len(expected_lines) != len(found_lines):
        differences.append(f"{len(found_lines)} lines of metrics instead of {len(expected_lines)}")
    return differences


def show(tally: Tally, max_steps: int, differences: list[str]) -> None:
    """Prints the table."""
    table = Table(title=f"{sum(tally.kills.values())} kills of a run of {max_steps:,} steps", show_header=False)
    for name, count in sorted(tally.kills.items()):
        table.add_row(f"killed: {name}", f"{count}")
    table.add_row("steps taken again, most", f"{max(tally.lost)} (a checkpoint every {SAVE_EVERY})")
    table.add_row("steps taken again, median", f"{statistics.median(tally.lost):g}")
    table.add_row("from command to first step, median", f"{statistics.median(tally.starts):.1f} s")
    same = "equal bit for bit" if not differences else f"different: {', '.join(differences[:5])}"
    table.add_row("weights, moments, EMA, metrics", same)
    Console().print(table)
    print(machine("torch", "megatron-core"))


if __name__ == "__main__":
    run(main)
