"""Activations by arithmetic: the numbers that a process holds for each token of a pack, at the peak of a step.

After Korthikanti et al. 2022 (arXiv:2205.05198), of the torch layer spec with fused attention and norms, as tensors are
made when a step is rehearsed. Counted are numbers of the precision that is trained in.
"""

from d2plm_megatron.config.model import Model
from d2plm_megatron.config.parameters import layer_matrices
from d2plm_megatron.config.recipe import Recipe
from d2plm_megatron.config.training import Parallel
from d2plm_megatron.proteins import alphabet


def per_token(recipe: Recipe, data_size: int, stage: int) -> float:
    """All numbers that a process of a pipeline stage holds at the peak, per token of a pack.

    In a pipeline a stage keeps the activations of as many packs as stages follow it, itself among them, and its output
    of each.
    """
    model, parallel = recipe.model, recipe.parallel
    num_packs = recipe.train.global_batch_tokens // recipe.data.tokens_per_pack // data_size
    in_flight = max(1, min(parallel.pipeline - stage, num_packs))
    is_last = stage == parallel.pipeline - 1
    outputs = 0 if is_last else in_flight * model.hidden_size / _share(parallel)
    layers = model.num_layers // parallel.pipeline * kept_by_layer(model, parallel, recipe.train.precision)
    return in_flight * layers + outputs + _beside_layers(recipe, data_size, is_last)


def kept_by_layer(model: Model, parallel: Parallel, precision: str) -> float:
    """Numbers that a layer keeps for the backward pass, per token.

    Split by tensor parallelism: queries and keys as rotated, values, what attention gives, in fp32 once by protein and
    once together; of GELU its input and output, of SwiGLU both halves of its input, and its output. Along the residual
    stream: input and output of both norms; of adaLN six vectors of every token, and what they meet. Whole everywhere:
    the cosines and sines that queries and keys are rotated by.
    """
    attention = (4 if precision == "bf16" else 5) * model.hidden_size
    feed_forward = (3 if model.activation == "swiglu" else 2) * model.ffn_hidden_size
    residual = (14 if model.time_conditioning else 4) * model.hidden_size
    rotations = 4 * model.hidden_size // model.num_attention_heads
    return (attention + feed_forward) / parallel.tensor + residual / _share(parallel) + rotations


def _beside_layers(recipe: Recipe, data_size: int, is_last: bool) -> float:
    """What lives at the peak beside what layers keep: in the last one's backward pass, or in the head.

    Under sequence parallelism also Megatron's buffer for what it gathers, which stays. Where parameters are sharded,
    also the gradients of a layer, in fp32, before each rank has its share of them.
    """
    model, parallel, tokens = recipe.model, recipe.parallel, recipe.data.tokens_per_pack
    found = _in_backward_of_layer(model, parallel, tokens)
    if is_last:
        found = max(found, _in_head(model, parallel))
    if parallel.sequence:
        found += model.hidden_size
    if parallel.sharding == "parameters" and data_size > 1:
        found += (2 if recipe.train.precision == "bf16" else 1) * layer_matrices(model) / parallel.tensor / tokens
    return found


def _in_backward_of_layer(model: Model, parallel: Parallel, tokens: int) -> float:
    """The gradient of the residual stream, whole, and where that is split the share that it came from.

    And in the feed-forward block, of SwiGLU the gradients of its input and output, and half of the input once more in
    place of what fc2 had kept; of GELU the gradient of its output, and those of fc2's weights, spread over the tokens.
    """
    ffn = model.ffn_hidden_size / parallel.tensor
    if model.activation == "swiglu":
        return 3 * ffn + model.hidden_size / _share(parallel)
    stream = model.hidden_size * (1 + 1 / parallel.tensor) if parallel.sequence else model.hidden_size
    return stream + ffn * (1 + model.hidden_size / tokens)


def _in_head(model: Model, parallel: Parallel) -> float:
    """What the head keeps, a gradient of it that is whole, and the logits, where they are split also a process's."""
    logits = alphabet.PADDED_SIZE * (1 + 1 / parallel.tensor if parallel.tensor > 1 else 1)
    return logits + model.hidden_size * (1 + (5 if model.head == "esm" else 2) / _share(parallel))


def _share(parallel: Parallel) -> int:
    """Of how many processes each has a share of the residual stream."""
    return parallel.tensor if parallel.sequence else 1
