"""Run by torchrun: trains one tiny run after another, as the file in its argument says, and notes how each began.

What takes long, to import Megatron, is done once. Each run then has a process of its own, forked from this one, so that
it meets nothing that an earlier one left behind: Megatron's process groups, which keep hundreds of threads, among it.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.objectives import Objective, build, build_process
from d2plm_megatron.parallel.megatron import DistributedDataParallelConfig, optimizers
from d2plm_megatron.parallel.processes import Processes, model_parallel, process_group
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.tensor_index import RAW
from d2plm_megatron.training import checkpointing, engine
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.trainer import Trainer
from verification.tiny_runs import DONE, TINY

SMALL_BUCKETS = partial(DistributedDataParallelConfig, bucket_size=16_384)
"""So that the gradients of a tiny encoder, too, are added up in several parts while others are computed."""


@dataclass
class Recorder:
    """An objective that notes what it makes of every pack that is trained on, and leaves it as it is.

    Attributes:
        objective: that does the work.
        noisy_packs: of each pack, its proteins as "epoch/sample id/ordinal/digest of all that corruption made of it".
    """

    objective: Objective
    noisy_packs: list[list[str]] = field(default_factory=list)

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        """As the objective does."""
        noisy = self.objective.corrupt(batch, rng)
        self.noisy_packs.append(digests(noisy))
        return noisy

    def loss(self, logits_TV: Tensor, noisy: NoisyBatch) -> LossTerms:
        """As the objective does."""
        return self.objective.loss(logits_TV, noisy)


def digests(noisy: NoisyBatch) -> list[str]:
    """One entry per protein of a pack: which it is, and a digest of its clean and noisy tokens, places and time."""
    pack, found, start = noisy.clean, [], 0
    proteins = zip(pack.sample_ids_S.tolist(), pack.stream_index_S.tolist(), pack.lengths_S, noisy.times_S, strict=True)
    for sample_id, ordinal, length, time in proteins:
        place = slice(start, start + length)
        of_tokens = (pack.tokens_T, noisy.tokens_T, noisy.predicted_T, pack.positions_T)
        content = b"".join(values[place].contiguous().numpy().tobytes() for values in of_tokens)
        digest = hashlib.sha256(content + time.numpy().tobytes()).hexdigest()
        found.append(f"{pack.epoch}/{sample_id}/{ordinal}/{digest[:16]}")
        start += length
    return found


def save_initial_weights(engine: Engine, folder: Path) -> None:
    """Writes the fp32 weights as a checkpoint of their own. All processes take part."""
    if dist.get_rank() == 0:
        folder.mkdir()
    dist.barrier()
    tensors.save(folder, {RAW: checkpointing.weights(engine)})
    dist.barrier()


def train(job: dict[str, Any], proteins: str, device: torch.device) -> None:
    """Trains one job; its folder then also tells how it began and what it was given."""
    folder = Path(job["folder"])
    overrides = [f"data.train={proteins}", f"data.validation={proteins}", *job["overrides"]]
    recipe = resolve(TINY, [*overrides, f"output={folder.parent}", f"name={folder.name}"])
    if job["continues"] is not None and dist.get_rank() == 0:
        copy_killed(Path(job["continues"]), folder)
    dist.barrier()
    small_buckets = patch.object(engine, "DistributedDataParallelConfig", SMALL_BUCKETS)
    with model_parallel(recipe.parallel, device) as processes, small_buckets:
        recorder = Recorder(build(recipe.objective))
        trainer = Trainer(recipe, processes, recorder, build_process(recipe.objective))
        began_at = trainer.progress.step
        save_initial_weights(trainer.engine, folder / "initial")
        trainer.fit()
        seen = {"began_at": began_at, "noisy_packs": numbered(recorder.noisy_packs, processes)}
        seen["num_buckets"] = optimizers.num_buckets(trainer.engine.wrapped)
        seen["ema_bytes"] = sum(value.nbytes for value in trainer.engine.ema.values)
        (folder / f"recorded_{processes.rank}.json").write_text(json.dumps(seen), encoding="utf-8")


def copy_killed(checkpoint: Path, folder: Path) -> None:
    """Makes the folder of a run what it would be, had the run of a checkpoint been killed before it saved another."""
    run = RunFolder(folder)
    shutil.copytree(checkpoint, run.checkpoints / checkpoint.name)
    run.point("latest", run.checkpoints / checkpoint.name)
    shutil.copy(RunFolder(checkpoint.parents[1]).metrics, run.metrics)


def numbered(noisy_packs: list[list[str]], processes: Processes) -> dict[int, list[str]]:
    """The packs of this process by their number in the stream since it began."""
    size, rank = processes.data_size, processes.data_rank
    return {turn * size + rank: proteins for turn, proteins in enumerate(noisy_packs)}


def train_apart(number: int, job: dict[str, Any], proteins: str) -> None:
    """In a forked process: joins its fellows and trains."""
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # as if started again: apart from those before, in the store
    with process_group() as device:
        train(job, proteins, device)
        dist.barrier()
        if dist.get_rank() == 0:
            print(DONE, flush=True)


def main(path: Path) -> None:
    """Trains all jobs of a file. Ends at the first that fails."""
    specified = json.loads(path.read_text(encoding="utf-8"))
    fork = multiprocessing.get_context("fork")
    for number, job in enumerate(specified["jobs"]):
        process = fork.Process(target=train_apart, args=(number, job, specified["proteins"]))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"job {number} ended with exit code {process.exitcode}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
