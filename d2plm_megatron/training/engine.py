"""The encoder made ready to train: wrapped for data parallelism, with Megatron's optimizer and the EMA."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.config import Optimizer, Recipe
from d2plm_megatron.config.parameters import trained
from d2plm_megatron.model import backend, weights
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.sharding import slices_by_parameter
from d2plm_megatron.parallel.megatron import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    FullyShardedDataParallel,
    MegatronOptimizer,
    OptimizerConfig,
    ProcessGroupCollection,
    TransformerConfig,
    TransformerLayer,
    finalize_model_grads,
    get_megatron_optimizer,
    get_pp_last_rank,
    optimizers,
)
from d2plm_megatron.parallel.megatron.torch_internals import multiply
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training import master_weights
from d2plm_megatron.training.ema import ExponentialMovingAverage
from d2plm_megatron.training.frozen import freeze
from d2plm_megatron.training.stored_weights import Weights


@dataclass(frozen=True)
class Update:
    """What became of a step, the same on every rank.

    Attributes:
        stepped: false when the loss or the gradient was not finite, or nothing scored, so that nothing was changed.
        norm: of the gradient, before clipping.
        scored: whether any residue was, on any rank.
        raised: of each flag, whether any rank had raised it.
    """

    stepped: bool
    norm: float
    scored: bool
    raised: tuple[bool, ...]


class Engine:
    """What a step changes.

    Args:
        recipe: of the run.
        processes: that share it.
        stored: weights to begin with; None draws them by the seed of the recipe.

    Attributes:
        encoder: inside `wrapped`.
        wrapped: Megatron's data-parallel wrapper, which is what is called.
        frozen: what does not train.
        masters: the fp32 weights of what does.
        ema: their exponential moving average.
    """

    def __init__(self, recipe: Recipe, processes: Processes, stored: Weights | None = None) -> None:
        self.recipe, self.processes = recipe, processes
        backend_name = backend.choose(recipe.model.backend, recipe.train.precision)
        config = transformer_config(recipe.model, recipe.parallel, recipe.train.precision, backend_name)
        self.encoder = Encoder(recipe.model, config, backend_name).to(processes.device)
        if stored is None:
            weights.initialise(self.encoder, recipe.model, recipe.train.seed)
        slices = slices_by_parameter(self.encoder)
        self.frozen = freeze(self.encoder, slices, trained(recipe.model, recipe.train.trainable), stored)
        sharding = recipe.parallel.sharding if processes.data_size > 1 else "none"  # alone there is nothing to share
        self.wrapped = _wrap(self.encoder, config, sharding)
        self.optimizer = _optimizer(recipe, self.wrapped, sharding)
        config.finalize_model_grads_func = _finalize_gradients
        config.no_sync_func = self.wrapped.no_sync  # else the first step tells for all which pack is the last
        config.grad_scale_func = self.optimizer.scale_loss
        self.masters = master_weights.collect(self.wrapped, self.optimizer, sharding, slices)
        if stored is not None:
            self.masters.wait_for_gather()
            stored.fill(self.masters.sliced(self.masters.weights))
            self.masters.copy_to_model()
        self.ema = ExponentialMovingAverage(self.masters, recipe.ema)

    def prepare(self, step: int) -> None:
        """Before the forward passes of step `step` (from 0): no gradients, and the learning rate of the step."""
        self.wrapped.zero_grad_buffer()
        self.optimizer.zero_grad()
        rate = learning_rate(self.recipe.optimizer, step, self.recipe.train.max_steps)
        optimizers.set_rate(self.optimizer, rate, self.recipe.optimizer.weight_decay)

    def update(self, loss: Tensor, flags: Sequence[bool] = ()) -> Update:
        """After the backward passes: clips, steps, updates the EMA; all that the host waits for is read here.

        A loss or a norm that is not finite, on any rank, leaves weights, optimizer and EMA as they are, and so does
        a step in which no rank has scored a residue.

        Args:
            loss: of this rank's packs, sum and count, [2].
            flags: what else all ranks are to know of one another.
        """
        self.optimizer.prepare_grads()
        total_loss, scored, norm, raised = self._agree(loss, flags)
        if not (scored and math.isfinite(total_loss) and math.isfinite(norm)):
            return Update(False, norm, scored, raised)
        shrink = self.recipe.optimizer.clip_norm / (norm + 1e-6)
        if 0 < shrink < 1:
            multiply(self.masters.gradients, shrink)
        self.optimizer.step_with_ready_grads()
        self.ema.update()
        return Update(True, norm, scored, raised)

    def _agree(self, loss: Tensor, flags: Sequence[bool]) -> tuple[float, bool, float, tuple[bool, ...]]:
        """Loss, whether any residue was scored, norm of the gradient and flags: of all ranks, in one reduction."""
        numbers = torch.zeros(3 + len(flags), dtype=torch.float64, device=self.processes.device)
        numbers[:2] = loss
        if self.masters.sharded or self.processes.data_rank == 0:  # else others have counted the same gradients
            numbers[2] = self.masters.squared_norm()
        for place, flag in enumerate(flags, start=3):
            if flag:
                numbers[place] = 1.0
        dist.all_reduce(numbers)
        total_loss, num_scored, squared_norm, *raised = numbers.tolist()
        return total_loss, num_scored > 0, math.sqrt(squared_norm), tuple(count > 0 for count in raised)


def learning_rate(options: Optimizer, step: int, max_steps: int) -> float:
    """Of step `step` (from 0): linear warm-up, then along the schedule to the floor, then flat."""
    warmup_steps, decay_steps = options.in_steps(max_steps)
    if step < warmup_steps:
        return options.lr * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, decay_steps - warmup_steps))
    above_floor = 1 - progress if options.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return options.lr * (options.min_lr_ratio + (1 - options.min_lr_ratio) * above_floor)


def _wrap(encoder: Encoder, config: TransformerConfig, sharding: str) -> optimizers.Wrapped:
    """Megatron's DDP, or its FSDP with each layer as a unit.

    Either adds up gradients while others are computed, and gathers weights while others are used.
    """
    if sharding == "parameters":
        optimizers.spare_frozen(encoder)
        options = DistributedDataParallelConfig(
            use_distributed_optimizer=True,
            use_megatron_fsdp=True,
            data_parallel_sharding_strategy="optim_grads_params",
            grad_reduce_in_fp32=True,
        )
        return FullyShardedDataParallel(config, options, encoder, fsdp_unit_modules=[TransformerLayer])
    options = DistributedDataParallelConfig(
        use_distributed_optimizer=sharding == "optimizer",
        grad_reduce_in_fp32=True,
        overlap_grad_reduce=True,
        overlap_param_gather=sharding == "optimizer",
    )
    return DistributedDataParallel(config, options, encoder)


def _finalize_gradients(
    model: list, num_tokens: Tensor, pg_collection: ProcessGroupCollection, force_all_reduce: bool
) -> None:
    """Megatron's finalize_model_grads, but for its division, before which it makes the host wait for the number."""
    finalize_model_grads(model, None, pg_collection, force_all_reduce)
    dist.broadcast(num_tokens, src=get_pp_last_rank(pg_collection.pp), group=pg_collection.pp)
    dist.all_reduce(num_tokens, group=pg_collection.dp_cp)
    for part in model:
        part.scale_gradients(1.0 / num_tokens.clamp(min=1))


def _optimizer(recipe: Recipe, wrapped: optimizers.Wrapped, sharding: str) -> MegatronOptimizer:
    options = recipe.optimizer
    bf16 = recipe.train.precision == "bf16"
    config = OptimizerConfig(
        optimizer="adam",
        lr=options.lr,
        weight_decay=options.weight_decay,
        adam_beta1=options.beta1,
        adam_beta2=options.beta2,
        adam_eps=options.eps,
        bf16=bf16,
        params_dtype=torch.bfloat16 if bf16 else torch.float32,
        use_distributed_optimizer=sharding != "none",
    )
    optimizer = get_megatron_optimizer(config, [wrapped])
    part = optimizers.only_part(optimizer)
    if not isinstance(part.optimizer, torch.optim.AdamW):
        # Left to itself, that of Transformer Engine 2.10 and 2.11 gives each FSDP rank the moments of all of them.
        optimizers.make_moments(part, config)
    return optimizer
