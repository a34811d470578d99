"""SwiGLU that keeps its input alone for the backward pass: 3 numbers per token and ffn_hidden_size with its output.

Megatron's own, without a fused kernel, keeps 5: both halves, the first's SiLU and a copy of the second, to which it
adds an offset of 0.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def swiglu(gate_and_value: Tensor) -> Tensor:
    """silu(gate) value, [..., 2 F] -> [..., F]; gradients are those of autograd, bit for bit."""
    output = _SwiGLU.apply(gate_and_value)
    assert isinstance(output, Tensor)
    return output


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_and_value: Tensor) -> Tensor:
        ctx.save_for_backward(gate_and_value)
        gate, value = gate_and_value.chunk(2, dim=-1)
        return F.silu(gate) * value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (gate_and_value,) = ctx.saved_tensors
        gate, value = gate_and_value.chunk(2, dim=-1)
        gradients = torch.empty_like(gate_and_value)
        of_gate, of_value = gradients.chunk(2, dim=-1)
        torch.mul(gradient, F.silu(gate), out=of_value)
        torch.ops.aten.silu_backward.grad_input(gradient * value, gate, grad_input=of_gate)
        return gradients
