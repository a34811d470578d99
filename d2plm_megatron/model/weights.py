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
    for name, slices in slices_by_parameter(encoder).items():
        flat = parameters[name].view(-1)
        for slice_ in slices:
            flat[slice_.start : slice_.stop] = _values(slice_, model, seed, flat.device).to(flat.dtype)


def _values(slice_: TensorSlice, model: Model, seed: int, device: torch.device) -> Tensor:
    if slice_.name.endswith(ONES):
        return torch.ones(slice_.stop - slice_.start, device=device)
    if slice_.name.endswith(ZEROS):
        return torch.zeros(slice_.stop - slice_.start, device=device)
    shrink = math.sqrt(2 * model.num_layers) if slice_.name.endswith(INTO_THE_RESIDUAL) else 1.0
    return normal(slice_, seed, device) * (model.init_std / shrink)


def open_gates(slice_: TensorSlice) -> Tensor:
    """For a slice of adaLN's parameters the values, flat, with which trained layers compute as if they had none.

    Shifts and scales are 0 as in adaLN-zero, and gates are 1: with its gates of 0 no layer would do anything.
    """
    elements = torch.arange(slice_.stop - slice_.start)
    if not slice_.name.endswith("layers.modulation.linear.bias"):
        return torch.zeros(len(elements))
    *_, whole = slice_.whole_shape
    vector = (elements % slice_.shape[-1] + slice_.offset[-1]) * NUM_VECTORS // whole
    return torch.isin(vector, torch.tensor(GATES)).float()


def normal(slice_: TensorSlice, seed: int, device: torch.device) -> Tensor:
    """Standard normal numbers for the elements of a slice, flat, fp32: the inverse distribution function of a hash."""
    stream = int(hash_integers(seed, Stream.WEIGHTS, zlib.crc32(slice_.name.encode())))
    values = torch.empty(slice_.stop - slice_.start, device=device)
    for begin, chunk in zip(range(0, values.numel(), CHUNK), values.split(CHUNK), strict=True):
        places = _places(slice_, torch.arange(begin, begin + len(chunk), device=device))
        chunk.copy_(torch.special.ndtri(to_unit(hash_integers(stream, places))))
    return values


def _places(slice_: TensorSlice, elements: Tensor) -> Tensor:
    """Indices in the flattened whole parameter of elements given by their indices in the flattened slice."""
    place, stride = torch.zeros_like(elements), 1
    for size, whole, offset in reversed(list(zip(slice_.shape, slice_.whole_shape, slice_.offset, strict=True))):
        place += (elements % size + offset) * stride
        elements, stride = elements // size, stride * whole
    return place
