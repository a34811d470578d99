"""SwiGLU as autograd has it, bit for bit, and nothing kept but its input."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from d2plm_megatron.model.activation import swiglu


def plain(gate_and_value: Tensor) -> Tensor:
    gate, value = gate_and_value.chunk(2, dim=-1)
    return F.silu(gate) * (value + 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [344, 7])
def test_values_and_gradients_are_those_of_autograd_bit_for_bit(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(0)
    inputs, gradient = torch.randn(65, 1, 2 * width).to(dtype), torch.randn(65, 1, width).to(dtype)
    found = []
    for function in (swiglu, plain):
        leaf = inputs.clone().requires_grad_()
        output = function(leaf)
        output.backward(gradient)
        found.append((output, leaf.grad))
    (output, grad), (expected, expected_grad) = found
    assert torch.equal(output, expected)
    assert torch.equal(grad, expected_grad)


def test_gradients_are_those_of_differences() -> None:
    inputs = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(swiglu, inputs)


def test_only_the_input_is_kept() -> None:
    inputs, kept = torch.randn(4, 6, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.data_ptr()), lambda nothing: nothing
    ):
        swiglu(inputs)
    assert kept == [inputs.data_ptr()]
