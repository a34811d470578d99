"""Rank and world size of this process, as torchrun or Slurm's srun tell them in the environment."""

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from d2plm_megatron.config import Parallel, Recipe, nearest_multiple

FIRST_PORT, NUM_PORTS = 20_000, 10_000
"""Where a job of Slurm meets: at the port of its number, so that jobs that share a node do not."""


def adopt_slurm(environment: MutableMapping[str, str] = os.environ) -> None:
    """Gives Slurm's numbers the names that torchrun gives to its own, so that `srun python recipes/NAME.py` is enough.

    Does nothing under torchrun, and where srun started one process alone. The step's numbers are taken and not the
    job's, which a batch script that starts a single process sees too. Raises ValueError when some are missing.
    """
    if "RANK" in environment or environment.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return
    missing = [name for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID") if name not in environment]
    if missing:
        raise ValueError(f"SLURM_STEP_NUM_TASKS is set but {missing[0]} is not: start with srun, or with torchrun")
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_STEP_NUM_TASKS"]
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    environment.setdefault("MASTER_ADDR", _first_host(environment))
    environment.setdefault("MASTER_PORT", str(FIRST_PORT + int(environment["SLURM_JOB_ID"]) % NUM_PORTS))


def check_restart(folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ValueError when Slurm starts a job again whose run is gone, which would begin anew without a word.

    Args:
        folder: of the run. Its first attempt makes it before anything is trained, so that one without a checkpoint is
            as good as any.
        environment: of this process.
    """
    if environment.get("SLURM_RESTART_COUNT", "0") != "0" and not folder.is_dir():
        raise ValueError(
            f"{folder}: Slurm starts job {environment.get('SLURM_JOB_ID')} again, but the folder of its run is gone; "
            "bring it back, or not, to begin anew, and submit the run once more"
        )


def rank() -> int:
    """This process's number among those that were started together; 0 for the main one, and when it is alone."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes that were started together; 1 when this one is alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_layout(parallel: Parallel, num_processes: int) -> int:
    """Number of data-parallel ranks. Raises ValueError when the processes cannot be grouped as the recipe says."""
    model_size = parallel.tensor * parallel.pipeline
    if num_processes % model_size:
        raise ValueError(
            f"parallel.tensor={parallel.tensor} x parallel.pipeline={parallel.pipeline}: needs a multiple of "
            f"{model_size} processes, but there are {num_processes}; start torchrun with --nproc-per-node {model_size}"
        )
    return num_processes // model_size


def check_batch(recipe: Recipe, data_size: int) -> None:
    """Raises ValueError unless the packs of a global batch can be dealt out evenly."""
    tokens, pack = recipe.train.global_batch_tokens, recipe.data.tokens_per_pack
    unit = pack * data_size
    if tokens % unit:
        smaller = _pack_that_fits(recipe, data_size)
        instead = f", or data.tokens_per_pack={smaller}" if smaller else ""
        raise ValueError(
            f"train.global_batch_tokens={tokens}: must be a multiple of {unit}, which is data.tokens_per_pack={pack} "
            f"times {data_size} data-parallel ranks; set train.global_batch_tokens={nearest_multiple(tokens, unit)}"
            + instead
        )


def _pack_that_fits(recipe: Recipe, data_size: int) -> int | None:
    """The recipe's pack, halved until every rank gets as many; None where proteins no longer fit into it."""
    pack = recipe.data.tokens_per_pack
    while recipe.train.global_batch_tokens % (pack * data_size) and pack % 2 == 0:
        pack //= 2
    split = recipe.parallel.tensor if recipe.parallel.sequence else 1
    fits = pack >= recipe.data.max_length_residues + 2 and pack % split == 0
    return pack if fits and recipe.train.global_batch_tokens % (pack * data_size) == 0 else None


def _first_host(environment: MutableMapping[str, str]) -> str:
    """Where rank 0 runs: the step's first node or, where its name means nothing, the one that srun was called on."""
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    first = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,]*))?", nodes)
    name = "".join(part or "" for part in first.groups()) if first else ""
    try:
        socket.gethostbyname(name)
        return name or "localhost"
    except OSError:
        return environment.get("SLURM_LAUNCH_NODE_IPADDR", "localhost")
