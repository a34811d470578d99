"""Sizes by arithmetic, before anything is built: parameters, floating-point operations, memory."""

from dataclasses import dataclass

from d2plm_megatron import alphabet
from d2plm_megatron.config import Model, Parallel, Recipe

TIME_FEATURES = 256
"""Width of the features of t that adaLN maps to each layer's vectors."""

GIB = 2**30


def num_parameters(model: Model) -> int:
    """Parameters of the encoder over the 33 tokens of the alphabet, as ESM-2 counts them.

    In memory the embedding and an output layer of their own have 128 rows.
    """
    hidden = model.hidden_size
    norm = hidden * (2 if model.normalization == "layernorm" else 1)
    layer = _layer_matrices(model) + 2 * norm
    if model.bias:
        layer += 4 * hidden + model.ffn_hidden_size * (2 if model.activation == "swiglu" else 1) + hidden
    if model.time_conditioning:
        layer += (TIME_FEATURES + 1) * 6 * hidden
    ends = alphabet.SIZE * hidden + norm  # embedding and last norm
    if model.head == "esm":
        ends += hidden * hidden + hidden + 2 * hidden + alphabet.SIZE
    else:
        ends += alphabet.SIZE * hidden
    if model.time_conditioning:
        ends += (TIME_FEATURES + 1) * 2 * hidden
    return model.num_layers * layer + ends


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
        gradients: in fp32.
        optimizer: fp32 weights and two moments.
        average: the moving average.
        activations: of one pack, kept for the backward pass.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def memory(recipe: Recipe, data_size: int) -> Memory:
    """What a process needs, to about a fifth: an estimate to choose a layout by.

    Activations are those of fused attention (Korthikanti et al. 2022, arXiv:2205.05198, without the score matrices),
    for one pack: with pipeline parallelism the first stage keeps as many packs as there are stages, of fewer layers.
    """
    model, parallel = recipe.model, recipe.parallel
    held = num_parameters(model) / (parallel.tensor * parallel.pipeline)
    main = 2 if recipe.train.precision == "bf16" else 4
    shared = data_size if parallel.sharding != "none" else 1
    fully = data_size if parallel.sharding == "parameters" else 1
    return Memory(
        weights=round(main * held / fully),
        gradients=round(4 * held / fully),
        optimizer=round((8 if main == 4 else 12) * held / shared),
        average=round(4 * held / shared),
        activations=round(main * recipe.data.tokens_per_pack * model.num_layers * _kept_per_token(model, parallel)),
    )


def _kept_per_token(model: Model, parallel: Parallel) -> float:
    """Numbers that a layer keeps for the backward pass, per token and process."""
    split = model.hidden_size * 4 + model.ffn_hidden_size * (4 if model.activation == "swiglu" else 2)
    residual = model.hidden_size * (5 + (8 if model.time_conditioning else 0))
    return split / parallel.tensor + residual / (parallel.tensor if parallel.sequence else 1)
