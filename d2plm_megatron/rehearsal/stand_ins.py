"""What stands in for parts of the real step in a rehearsal, and why."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.checkpoint.tensors import Sliced
from d2plm_megatron.model import attention
from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.parallel.megatron import MegatronOptimizer
from d2plm_megatron.parallel.megatron.without_data import tensors_without_data
from d2plm_megatron.proteins import alphabet


class UnsetWeights:
    """Weights that stay as they were allocated: to draw them takes a hash for each, and hours at 15 billion."""

    def fill(self, sliced: Sliced) -> None:
        """Leaves them."""
        for _ in sliced:
            pass


@contextmanager
def without_data() -> Iterator[None]:
    """The tensors of an engine that is built and stepped inside have no data."""
    # They are made where they belong. torch would swap them for others, which it refuses where weak references are.
    with patch.object(Encoder, "to", lambda self, device: self), tensors_without_data():
        yield


@contextmanager
def kernels_of_gpus() -> Iterator[None]:
    """Takes the kernels that a GPU would, as they keep other tensors than those of a CPU: see what each one is."""
    with ExitStack() as undo:
        undo.enter_context(patch.object(attention, "flash_takes", lambda query: query.dtype != torch.float32))
        undo.enter_context(patch.object(F, "rms_norm", _fused_rms_norm))
        yield


def step_as_on_gpus(part: MegatronOptimizer) -> None:
    """Lets torch step all weights in few kernels, which is its choice on a GPU, but not where there is no data."""
    for group in part.param_groups:
        group["foreach"] = True


def _fused_rms_norm(x: Tensor, shape: Any, weight: Tensor, eps: float) -> Tensor:
    return _FusedRmsNorm.apply(x, weight)


class _FusedRmsNorm(torch.autograd.Function):
    """What the kernel of a GPU keeps: its input, and a number per row. On a CPU torch takes RMSNorm apart, in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


def pack_of(num_tokens: int, length: int) -> TokenBatch:
    """A pack of proteins that are equally long, so that the operations of attention are counted as they are.

    Args:
        num_tokens: of the pack; the last protein is shorter where the length does not divide them.
        length: tokens of a protein.
    """
    whole, rest = divmod(num_tokens, length)
    lengths = (length,) * whole + ((rest,) if rest else ())
    places = torch.arange(num_tokens)
    return TokenBatch(
        tokens_T=torch.full((num_tokens,), alphabet.FIRST_CANONICAL),
        positions_T=places % length,
        sequence_T=places // length,
        scored_T=torch.ones(num_tokens, dtype=torch.bool),
        sample_ids_S=torch.arange(len(lengths)),
        stream_index_S=torch.arange(len(lengths)),
        lengths_S=lengths,
        epoch=0,
    )
