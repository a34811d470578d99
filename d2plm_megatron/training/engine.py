"""The encoder made ready to train: wrapped for data parallelism, with Megatron's optimizer and the moving average."""

import math
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.distributed.fsdp.mcore_fsdp_adapter import FullyShardedDataParallel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer

from d2plm_megatron.config import Optimizer, Recipe
from d2plm_megatron.model import layer_spec, weights
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.placement import boxes_by_parameter
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training import master_weights
from d2plm_megatron.training.moving_average import MovingAverage


class Engine:
    """What a step changes.

    Attributes:
        encoder: inside `wrapped`.
        wrapped: Megatron's data-parallel wrapper, which is what is called.
        masters: the fp32 weights.
        average: their moving average.
    """

    def __init__(self, recipe: Recipe, processes: Processes) -> None:
        self.recipe = recipe
        kernels = layer_spec.choose(recipe.model.layer_spec, recipe.train.precision)
        config = transformer_config(recipe.model, recipe.parallel, recipe.train.precision, kernels)
        self.encoder = Encoder(recipe.model, config, kernels).to(processes.device)
        weights.initialise(self.encoder, recipe.model, recipe.train.seed)
        boxes = boxes_by_parameter(self.encoder)
        sharding = recipe.parallel.sharding if processes.data_size > 1 else "none"  # alone there is nothing to share
        self.wrapped = _wrap(self.encoder, config, sharding)
        self.optimizer = _optimizer(recipe, self.wrapped, sharding)
        config.finalize_model_grads_func = finalize_model_grads
        config.grad_scale_func = self.optimizer.scale_loss
        self.masters = master_weights.collect(self.wrapped, self.optimizer, sharding, boxes)
        self.average = MovingAverage(self.masters, recipe.average)

    def prepare(self, step: int) -> None:
        """Before the forward passes of step `step` (from 0): no gradients, and the learning rate of the step."""
        self.wrapped.zero_grad_buffer()
        self.optimizer.zero_grad()
        rate = learning_rate(self.recipe.optimizer, step, self.recipe.train.max_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            group["weight_decay"] = self.recipe.optimizer.weight_decay * group["wd_mult"]

    def update(self, loss: float) -> tuple[bool, float]:
        """After the backward passes: clips, steps and averages; (whether it stepped, gradient norm before clipping).

        A loss or a norm that is not finite leaves weights, optimizer and average as they are.
        """
        self.optimizer.prepare_grads()
        norm = float(self.optimizer.get_grad_norm())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return False, norm
        if self.recipe.optimizer.clip_norm:
            for part in getattr(self.optimizer, "chained_optimizers", [self.optimizer]):
                clip_grad_by_total_norm_fp32(part.get_parameters(), self.recipe.optimizer.clip_norm, norm)
        self.optimizer.step_with_ready_grads()
        self.average.update()
        return True, norm


def learning_rate(options: Optimizer, step: int, max_steps: int) -> float:
    """Of step `step` (from 0): linear warm-up, cosine to the floor, flat."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    decay_steps = max_steps if options.decay_steps is None else options.decay_steps
    progress = min(1.0, (step - options.warmup_steps) / max(1, decay_steps - options.warmup_steps))
    share = options.floor_ratio + (1 - options.floor_ratio) * (1 + math.cos(math.pi * progress)) / 2
    return options.learning_rate * share


def _wrap(encoder: Encoder, config: TransformerConfig, sharding: str) -> Any:
    """Megatron's DDP, or its FSDP with each layer as a unit."""
    if sharding == "parameters":
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
        overlap_grad_reduce=torch.cuda.is_available(),
    )
    return DistributedDataParallel(config, options, encoder)


def _optimizer(recipe: Recipe, wrapped: Any, sharding: str) -> Any:
    options = recipe.optimizer
    bf16 = recipe.train.precision == "bf16"
    config = OptimizerConfig(
        optimizer="adam",
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        adam_beta1=options.beta1,
        adam_beta2=options.beta2,
        adam_eps=options.epsilon,
        clip_grad=options.clip_norm,
        bf16=bf16,
        params_dtype=torch.bfloat16 if bf16 else torch.float32,
        use_distributed_optimizer=sharding != "none",
    )
    return get_megatron_optimizer(config, [wrapped])
