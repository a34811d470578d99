"""Sizes by arithmetic, before anything is built: parameters, floating-point operations, memory."""

from dataclasses import dataclass

from d2plm_megatron.config import Model, Parallel, Recipe
from d2plm_megatron.config.parameters import sizes, trained
from d2plm_megatron.proteins import alphabet

GIB = 2**30
GATHERED_AT_ONCE = 10**9


def num_parameters(model: Model) -> int:
    """Parameters of the encoder over the 33 tokens of the alphabet, as ESM-2 counts them.

    In memory the embedding and an output layer of their own have 128 rows.
    """
    return sum(sizes(model).values())


def num_trained(recipe: Recipe) -> int:
    """Those of them that train."""
    found = sizes(recipe.model)
    return sum(found[name] for name in trained(recipe.model, recipe.train.trainable))


def _layer_matrices(model: Model) -> int:
    feed_forward = (3 if model.activation == "swiglu" else 2) * model.hidden_size * model.ffn_hidden_size
    return 4 * model.hidden_size**2 + feed_forward


def training_flops(model: Model, num_tokens: int, sum_squared_lengths: int) -> int:
    """Operations that the model needs for a forward and a backward pass over some proteins.

    Two per weight and token and, in each layer, four hidden sizes per pair of tokens of a protein; the backward pass
    takes twice the forward. Norms, rotations and adaLN are left out.
    """
    head = alphabet.SIZE * model.hidden_size + (model.hidden_size**2 if model.head == "esm" else 0)
    weights = model.num_layers * _layer_matrices(model) + head
    pairs = model.num_layers * 4 * model.hidden_size * sum_squared_lengths
    return 3 * (2 * weights * num_tokens + pairs)


@dataclass(frozen=True)
class Memory:
    """Estimated bytes per process.

    Attributes:
        weights: that the encoder computes with.
        gradients: in fp32, of what trains.
        optimizer: fp32 weights and two moments, of what trains.
        ema: the exponential moving average of the weights, of what trains.
        gathered: of weights that are sharded, those that are whole at a time.
        activations: of one pack, kept for the backward pass, and the gradients of a layer's.
    """

    weights: int
    gradients: int
    optimizer: int
    ema: int
    gathered: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())


def memory(recipe: Recipe, data_size: int) -> Memory:
    """What the tensors of a process take, within a tenth, to choose a layout by.

    Not counted: the CUDA context, buffers of NCCL, scratch of kernels, and what fragments. Activations are those of the
    torch layer spec with fused attention (after Korthikanti et al. 2022, arXiv:2205.05198, without the score matrices),
    for one pack: with pipeline parallelism the first stage keeps as many packs as there are stages, of fewer layers.
    Where only some parameters train, those of a pipeline stage are as many as they can be, and activations as if all
    did.
    """
    model, parallel = recipe.model, recipe.parallel
    held = num_parameters(model) / (parallel.tensor * parallel.pipeline)
    trains = min(held, num_trained(recipe) / parallel.tensor)
    main = 2 if recipe.train.precision == "bf16" else 4
    shared = data_size if parallel.sharding != "none" else 1
    fully = data_size if parallel.sharding == "parameters" else 1
    own_main = main == 4 and parallel.sharding != "parameters"  # the weights are the optimizer's main weights
    kept = model.num_layers * _kept_per_token(model, parallel) + _gradients_per_token(model, parallel)
    return Memory(
        weights=round(main * held / fully),
        gradients=round(4 * trains / fully),
        optimizer=round((8 if own_main else 12) * trains / shared),
        ema=round(4 * trains / shared),
        gathered=round(main * _gathered(model, parallel)) if fully > 1 else 0,
        activations=round(main * recipe.data.tokens_per_pack * kept),
    )


def _kept_per_token(model: Model, parallel: Parallel) -> float:
    """Numbers that a layer keeps for the backward pass, per token and process.

    Split by tensor parallelism: q, k and v as projected, q and k as rotated, what attention gives; of GELU its input
    and output, of SwiGLU both halves, the first's SiLU, a copy of the second, and their product. Along the residual
    stream: input and output of both norms; of adaLN six vectors of every token, and what they meet.
    """
    split = 6 * model.hidden_size + (5 if model.activation == "swiglu" else 2) * model.ffn_hidden_size
    residual = (14 if model.time_conditioning else 4) * model.hidden_size
    return split / parallel.tensor + residual / (parallel.tensor if parallel.sequence else 1)


def _gradients_per_token(model: Model, parallel: Parallel) -> float:
    """Numbers that live only while the backward pass is in a layer, per token and process.

    The gradients of its widest tensor, and of those of the residual stream, which are whole there.
    """
    widest = model.ffn_hidden_size * (2 if model.activation == "swiglu" else 1)
    return 2 * widest / parallel.tensor + 6 * model.hidden_size


def _gathered(model: Model, parallel: Parallel) -> float:
    """Weights that Megatron-FSDP holds whole: of a model below a billion all, else two layers and what is outside."""
    if num_parameters(model) < GATHERED_AT_ONCE:
        return num_parameters(model) / parallel.tensor
    outside = num_parameters(model) - model.num_layers * _layer_matrices(model)
    return (2 * _layer_matrices(model) + outside) / parallel.tensor
