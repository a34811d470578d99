"""Encoders read from checkpoints, and passes through them, in the layout of the present processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config import Parallel
from d2plm_megatron.model import backend
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.sharding import slices_by_parameter
from d2plm_megatron.parallel.megatron import get_forward_backward_func, parallel_state
from d2plm_megatron.parallel.megatron.modules import hidden_of, module_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.checkpoint import Checkpoint


def load_encoder(checkpoint: Checkpoint, group: str, precision: str, device: torch.device) -> Encoder:
    """The part of a checkpoint's encoder that belongs to this process, ready to be called.

    Args:
        checkpoint: of any layout.
        group: EMA for the moving average, RAW for the weights as trained.
        precision: bf16 or fp32, to compute in.
        device: to compute on.

    Raises ValueError when the checkpoint is damaged or does not hold the group, or the model cannot be split so.
    """
    checkpoint.check_whole()
    model, parallel = checkpoint.recipe.model, _layout_in_force(checkpoint)
    backend_name = backend.choose("auto", precision)  # whatever it was trained with
    encoder = Encoder(model, transformer_config(model, parallel, precision, backend_name), backend_name).to(device)
    parameters = dict(encoder.named_parameters())
    whole = {name: torch.empty(parameter.numel()) for name, parameter in parameters.items()}
    sliced = [
        (slice_, whole[name][slice_.start : slice_.stop].view(slice_.shape))
        for name, slices in slices_by_parameter(encoder).items()
        for slice_ in slices
    ]
    tensors.load(checkpoint.path, {group: sliced})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(whole[name].view(parameter.shape))
    return encoder.eval().requires_grad_(False)


def logits(encoder: Encoder, noisy: NoisyBatch) -> Tensor:
    """The logits of a pack, [T, V] in fp32, on every process that shares the encoder. They all take part."""
    found = _pass(encoder, noisy)
    last = parallel_state.get_pipeline_model_parallel_world_size() - 1
    return _of_stage(last, found[0][0] if found else None, (len(noisy.tokens_T), alphabet.SIZE), noisy)


def hidden_states(encoder: Encoder, noisy: NoisyBatch, layer: int) -> Tensor:
    """The hidden states of a pack, [T, H] in fp32, on every process that shares the encoder. They all take part.

    Args:
        encoder: to pass the pack through.
        noisy: the pack.
        layer: 0 for the embeddings, k for what layer k gives to the next, and for the last layer what comes after the
            norm that ends the stack.
    """
    num_layers = encoder.config.num_layers
    stages = parallel_state.get_pipeline_model_parallel_world_size()
    stage = max(0, layer - 1) // (num_layers // stages)
    with _watched(encoder, layer, here=parallel_state.get_pipeline_model_parallel_rank() == stage) as seen:
        _pass(encoder, noisy)
    own = seen[0][:, 0].float() if seen else None
    return _of_stage(stage, own, (len(noisy.tokens_T), encoder.config.hidden_size), noisy)


def _layout_in_force(checkpoint: Checkpoint) -> Parallel:
    """Raises ValueError, naming the key, when the model cannot be split like the present processes."""
    parallel = Parallel(
        tensor=parallel_state.get_tensor_model_parallel_world_size(),
        pipeline=parallel_state.get_pipeline_model_parallel_world_size(),
    )
    return replace(checkpoint.recipe, parallel=parallel).parallel


def _pass(encoder: Encoder, noisy: NoisyBatch) -> list[Tensor]:
    """Through all stages of the pipeline; [logits [1, T, V]] on the last, nothing on the others."""

    def forward_step(batches: Iterator[NoisyBatch], model: Any) -> tuple[Tensor, Any]:
        return model(next(batches)), lambda output, non_loss_data: output

    return get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=iter([noisy]),
        model=[encoder],
        num_microbatches=1,
        seq_length=len(noisy.tokens_T),
        micro_batch_size=1,
        forward_only=True,
        collect_non_loss_data=True,
    )


@contextmanager
def _watched(encoder: Encoder, layer: int, here: bool) -> Iterator[list[Tensor]]:
    """Collects what the module whose output is meant by `layer` gives, [T, 1, H], where this process has it."""
    seen: list[Tensor] = []
    if not here:
        yield seen
        return

    def note(module: torch.nn.Module, args: Any, output: Any) -> None:
        seen.append(hidden_of(module, output))

    handle = module_of(encoder, layer).register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def _of_stage(stage: int, own: Tensor | None, shape: tuple[int, int], noisy: NoisyBatch) -> Tensor:
    """What a stage of the pipeline holds, fp32, for all of its stages."""
    if parallel_state.get_pipeline_model_parallel_world_size() == 1:
        assert own is not None
        return own
    group = parallel_state.get_pipeline_model_parallel_group()
    values = torch.empty(shape, device=noisy.tokens_T.device) if own is None else own.contiguous()
    dist.broadcast(values, src=dist.get_global_rank(group, stage), group=group)
    return values
