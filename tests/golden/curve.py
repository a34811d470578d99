"""The loss curve that the tiny absorbing recipe follows on the proteins of proteins.txt, kept in absorbing_tiny.json.

A change that should not alter numbers leaves it as it is. One that should, writes it anew, and says so in its commit:

    python -m tests.golden.curve
"""

import json
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import Processes, parallel_context
from d2plm_megatron.proteins.alphabet import encode
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import averages, run_packs
from recipes import absorbing_tiny

GOLDEN = Path(__file__).with_name("absorbing_tiny.json")
NUM_STEPS = 10
PROTEINS = Path(__file__).with_name("proteins.txt")
"""One to a line, as data_tools.simulate drew them once; another numpy may draw others."""


def golden_losses() -> list[float]:
    """Of each step, in nats."""
    losses: list[float] = json.loads(GOLDEN.read_text())["losses"]
    return losses


def write_proteins(prefix: Path) -> None:
    """Writes the proteins as PREFIX.bin and PREFIX.idx."""
    with IndexedWriter(prefix) as writer:
        for sequence in PROTEINS.read_text().split():
            writer.add(encode(sequence))


def recipe(prefix: Path, **train: Any) -> Recipe:
    """absorbing_tiny, whose step is four packs, at a high rate with hardly any warm-up, so that changes show."""
    parent = absorbing_tiny.recipe()
    return replace(
        parent,
        model=replace(parent.model, backend="torch"),  # Transformer Engine's attention is for 16 bits
        data=replace(parent.data, train=str(prefix)),
        optimizer=replace(parent.optimizer, lr=4e-3, warmup_steps=2),
        train=replace(parent.train, **train),
    )


def losses(chosen: Recipe, processes: Processes, num_steps: int = NUM_STEPS) -> list[float]:
    """Trains from the beginning; the loss of each step."""
    engine, objective = Engine(chosen, processes), build(chosen.objective)
    stream = PackStream.open(chosen.data, chosen.train.seed)
    batches = global_batches(stream, Position(), chosen.train.global_batch_tokens // chosen.data.tokens_per_pack, 0, 1)
    found = []
    for step, batch in enumerate(islice(batches, num_steps)):
        engine.prepare(step)
        sums = run_packs(engine.wrapped, objective, batch.packs, processes.device, chosen.train.seed, train=True)
        engine.update(sums.loss)
        found.append(averages(sums.over_ranks())["loss"])
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_proteins(Path(folder) / "proteins")
        chosen = recipe(Path(folder) / "proteins")
        with parallel_context(chosen.parallel) as alone:
            GOLDEN.write_text(json.dumps({"losses": losses(chosen, alone)}, indent=2) + "\n")
