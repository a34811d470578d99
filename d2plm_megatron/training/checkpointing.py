"""What of an engine is saved and restored: weights, moments and EMA, shard by shard, from and to any layout."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.parallel.megatron import to_local_if_dtensor
from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.tensor_index import EMA, MOMENTS, RAW
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.master_weights import Shard


def prepare(engine: Engine, folder: Path, copies: bool) -> tensors.Write:
    """All of saving the engine's tensors but the writing; see tensors.prepare."""
    for shard in engine.masters.shards:
        if not engine.masters.optimizer.optimizer.state[shard.main_param]:  # every step so far was skipped
            _allocate_moments(engine, shard, num_updates=0)
    return tensors.prepare(folder, _groups(engine), copies)


def newest_whole(found: Sequence[Path], say: Callable[[str], object]) -> Checkpoint | None:
    """The first of the given checkpoints that is undamaged; what is wrong with others is said.

    All processes take part, each reading a share of the files. Raises ValueError when all are damaged.
    """
    for path in found:
        try:
            checkpoint = Checkpoint.open(path)
            check_whole(checkpoint)
            return checkpoint
        except integrity.Damaged as error:
            say(f"{error}; trying the checkpoint before it")
    if found:
        raise ValueError(f"{found[0].parent}: every checkpoint is damaged; remove the folder to start anew")
    return None


def check_whole(checkpoint: Checkpoint) -> None:
    """As Checkpoint.check_whole, shared out over the processes, all of which take part."""
    share = dict(list(checkpoint.state["files"].items())[dist.get_rank() :: dist.get_world_size()])
    parts: list[list[str]] = [[]] * dist.get_world_size()
    dist.all_gather_object(parts, _wrong(checkpoint.path, share))
    if wrong := sorted(set(chain.from_iterable(parts))):
        raise integrity.Damaged(f"{checkpoint.path}: damaged: {'; '.join(wrong)}")


def _wrong(folder: Path, files: integrity.Files) -> list[str]:
    if wrong := integrity.contents_differ(folder, files):
        return wrong
    try:
        tensors.check(folder, files)
    except integrity.Damaged as damage:
        return [str(damage)]
    return []


def restore(engine: Engine, folder: Path, num_updates: int) -> None:
    """Makes an engine what it was when saved, in whatever layout that was. All processes take part.

    Args:
        engine: newly built with the weights of the checkpoint, of which the same are trained.
        folder: of the checkpoint.
        num_updates: optimizer steps that had been taken.
    """
    for shard in engine.masters.shards:
        _allocate_moments(engine, shard, num_updates)
    tensors.load(folder, _beside_weights(engine))
    engine.ema.num_updates = num_updates


def weights(engine: Engine) -> tensors.Sliced:
    """All of the encoder's, what trains and what does not."""
    return chain(engine.masters.sliced(engine.masters.weights), engine.frozen.kept)


def _groups(engine: Engine) -> dict[str, tensors.Sliced]:
    of_trained = _beside_weights(engine)
    return {RAW: weights(engine), **of_trained, EMA: chain(of_trained[EMA], engine.frozen.copies())}


def _beside_weights(engine: Engine) -> dict[str, tensors.Sliced]:
    """Of what trains: the EMA and the moments."""
    masters, state = engine.masters, engine.masters.optimizer.optimizer.state
    return {
        EMA: masters.sliced(engine.ema.values),
        **{
            moment: masters.sliced([to_local_if_dtensor(state[shard.main_param][moment]) for shard in masters.shards])
            for moment in MOMENTS
        },
    }


def _allocate_moments(engine: Engine, shard: Shard, num_updates: int) -> None:
    """Gives the optimizer the state that it would otherwise make in its first step."""
    optimizer: Any = engine.masters.optimizer.optimizer
    state = optimizer.state[shard.main_param]
    for moment in MOMENTS:
        state[moment] = torch.zeros_like(shard.main_param.data)
    if isinstance(optimizer, torch.optim.Optimizer) and type(optimizer).__module__.startswith("torch."):
        state["step"] = torch.tensor(float(num_updates))
    else:  # the fused optimizers of Transformer Engine and Apex count once for all
        for group in optimizer.param_groups:
            group["step"] = num_updates
