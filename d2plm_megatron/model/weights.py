"""Initial weights: a pure function of seed, name and place in the whole model, so that every layout starts the same."""

import math
import zlib

import torch
from torch import Tensor

from d2plm_megatron.config import Model
from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.model.sharding import TensorSlice, slices_by_parameter
from d2plm_megatron.model.time_conditioning import GATES, NUM_VECTORS
from d2plm_megatron.rng import Stream, hash_integers, to_unit

ONES = ("layer_norm_weight", "layernorm.weight", "norm.weight")
ZEROS = ("bias", "modulation.linear.weight")
CHUNK = 1 << 18
"""Weights drawn at a time: what the hash needs in between then stays in the cache."""
INTO_THE_RESIDUAL = ("linear_proj.weight", "linear_fc2.weight")


@torch.no_grad()
def initialise(encoder: Encoder, model: Model, seed: int) -> None:
    """Sets every weight: norms 1, biases and adaLN 0, the rest normal with model.init_std.

    The layers that write into the residual stream start smaller by sqrt(2 num_layers), as in GPT-2.
    """
    parameters = dict(encoder.named_parameters())
    for name, boxes in slices_by_parameter(encoder).items():
        flat = parameters[name].view(-1)
        for box in boxes:
            flat[box.start : box.stop] = _values(box, model, seed, flat.device).to(flat.dtype)


def _values(box: TensorSlice, model: Model, seed: int, device: torch.device) -> Tensor:
    if box.name.endswith(ONES):
        return torch.ones(box.stop - box.start, device=device)
    if box.name.endswith(ZEROS):
        return torch.zeros(box.stop - box.start, device=device)
    shrink = math.sqrt(2 * model.num_layers) if box.name.endswith(INTO_THE_RESIDUAL) else 1.0
    return normal(box, seed, device) * (model.init_std / shrink)


def open_gates(box: TensorSlice) -> Tensor:
    """For a box of adaLN's parameters the values, flat, with which trained layers compute as if they had none.

    Shifts and scales are 0 as in adaLN-zero, and gates are 1: with its gates of 0 no layer would do anything.
    """
    elements = torch.arange(box.stop - box.start)
    if not box.name.endswith("layers.modulation.linear.bias"):
        return torch.zeros(len(elements))
    *_, whole = box.whole_shape
    vector = (elements % box.shape[-1] + box.offset[-1]) * NUM_VECTORS // whole
    return torch.isin(vector, torch.tensor(GATES)).float()


def normal(box: TensorSlice, seed: int, device: torch.device) -> Tensor:
    """Standard normal numbers for the elements of a box, flat, fp32: the inverse distribution function of a hash."""
    stream = int(hash_integers(seed, Stream.WEIGHTS, zlib.crc32(box.name.encode())))
    values = torch.empty(box.stop - box.start, device=device)
    for begin, chunk in zip(range(0, values.numel(), CHUNK), values.split(CHUNK), strict=True):
        places = _places(box, torch.arange(begin, begin + len(chunk), device=device))
        chunk.copy_(torch.special.ndtri(to_unit(hash_integers(stream, places))))
    return values


def _places(box: TensorSlice, elements: Tensor) -> Tensor:
    """Indices in the flattened whole parameter of elements given by their indices in the flattened box."""
    place, stride = torch.zeros_like(elements), 1
    for size, whole, offset in reversed(list(zip(box.shape, box.whole_shape, box.offset, strict=True))):
        place += (elements % size + offset) * stride
        elements, stride = elements // size, stride * whole
    return place
