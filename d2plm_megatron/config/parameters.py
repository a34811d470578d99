"""The parameters of an encoder by name, counted by arithmetic before anything is built, and which of them train."""

import difflib
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

from d2plm_megatron.config.model import Model
from d2plm_megatron.proteins import alphabet

TIME_FEATURES = 256
"""Width of the features of t that adaLN maps to each layer's vectors."""

ALL = "*"
"""The pattern of all parameters."""


def sizes(model: Model) -> dict[str, int]:
    """How many numbers each parameter has, over the 33 tokens of the alphabet.

    The names are those of checkpoints, with the number of the layer, from 0: decoder.layers.3.mlp.linear_fc2.weight.
    In memory the embedding and an output layer of their own have 128 rows.
    """
    layer = _layer(model)
    layers = {f"decoder.layers.{n}.{name}": size for n in range(model.num_layers) for name, size in layer.items()}
    embedding = {"embedding.word_embeddings.weight": alphabet.SIZE * model.hidden_size}
    return embedding | layers | _norm(model, "decoder.final_layernorm.") | _head(model)


def held(model: Model, tensor: int) -> dict[str, int]:
    """How many numbers of each parameter a tensor-parallel process has, without regard to the pipeline."""
    return {name: size // (tensor if _is_split(name) else 1) for name, size in sizes(model).items()}


def _is_split(name: str) -> bool:
    """Whether tensor-parallel processes have a share each: of matrices and the biases of those split by rows."""
    by_columns = ("linear_proj.weight", "linear_fc2.weight")
    by_rows = ("linear_qkv.weight", "linear_qkv.bias", "linear_fc1.weight", "linear_fc1.bias")
    return name.endswith((*by_columns, *by_rows)) or name.startswith(("embedding.", "output_layer."))


def layer_matrices(model: Model) -> int:
    """Weights of the matrices that every token meets in a layer, of which there are nearly all."""
    feed_forward = (3 if model.activation == "swiglu" else 2) * model.hidden_size * model.ffn_hidden_size
    return 4 * model.hidden_size**2 + feed_forward


def num_padded(name: str, shape: Sequence[int]) -> int:
    """How many numbers of a parameter, of its shape in memory and in checkpoints, stand for tokens that there are not.

    The embedding and an output layer of their own have 128 rows for the 33 tokens of the alphabet.
    """
    if not name.startswith(("embedding.", "output_layer.")):
        return 0
    return (shape[0] - alphabet.SIZE) * math.prod(shape[1:])


def trained(model: Model, patterns: str) -> set[str]:
    """The names that some of the patterns, with spaces between them, match, without those that follow a "!".

    Patterns are those of the shell: * is anything, ? one letter, [ab] either. Exclusions alone are from all.

    Raises ValueError, with names that are near, for a pattern that matches nothing, and when nothing is left.
    """
    names = sizes(model)
    matched = {
        pattern: {name for name in names if fnmatchcase(name, pattern.lstrip("!"))} for pattern in patterns.split()
    }
    for pattern, found in matched.items():
        if not found:
            near = difflib.get_close_matches(pattern.strip("!*"), names, n=3, cutoff=0.0)
            raise ValueError(f"train.trainable={pattern}: matches no parameter; near are {', '.join(near)}")
    included = [found for pattern, found in matched.items() if not pattern.startswith("!")]
    excluded = [found for pattern, found in matched.items() if pattern.startswith("!")]
    left = set().union(*(included or [set(names)])).difference(*excluded)
    if not left:
        raise ValueError(f"train.trainable={patterns}: leaves nothing to train")
    return left


def _layer(model: Model) -> dict[str, int]:
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    linears = {
        "self_attention.linear_qkv.": (hidden, 3 * hidden),
        "self_attention.linear_proj.": (hidden, hidden),
        "mlp.linear_fc1.": (hidden, ffn * (2 if model.activation == "swiglu" else 1)),
        "mlp.linear_fc2.": (ffn, hidden),
    }
    found: dict[str, int] = {}
    for name, (inputs, outputs) in linears.items():
        found |= _linear(name, inputs, outputs, bias=model.bias)
    if not model.time_conditioning:  # a norm is part of the linear layer that follows it
        return (
            found | _norm(model, "self_attention.linear_qkv.layer_norm_") | _norm(model, "mlp.linear_fc1.layer_norm_")
        )
    norms = _norm(model, "input_layernorm.") | _norm(model, "pre_mlp_layernorm.")
    return found | norms | _linear("modulation.linear.", TIME_FEATURES, 6 * hidden)


def _head(model: Model) -> dict[str, int]:
    hidden = model.hidden_size
    if model.head == "esm":
        norm = {"head.norm.weight": hidden, "head.norm.bias": hidden}
        found = _linear("head.dense.", hidden, hidden) | norm | {"output_projection.bias": alphabet.SIZE}
    else:
        found = {"output_layer.weight": alphabet.SIZE * hidden}
    if model.time_conditioning:
        found |= _linear("final_modulation.linear.", TIME_FEATURES, 2 * hidden)
    return found


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, int]:
    return {f"{name}weight": inputs * outputs} | ({f"{name}bias": outputs} if bias else {})


def _norm(model: Model, name: str) -> dict[str, int]:
    weight = {f"{name}weight": model.hidden_size}
    return weight | ({f"{name}bias": model.hidden_size} if model.normalization == "layernorm" else {})
