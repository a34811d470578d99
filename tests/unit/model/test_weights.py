"""Initial weights: a pure function of the seed, with the statistics that training expects."""

import math

import pytest
import torch

from d2plm_megatron.config import Model
from d2plm_megatron.model.encoder import Encoder

WIDE = Model(num_layers=3, hidden_size=128, num_attention_heads=4, ffn_hidden_size=256, init_std=0.05)


def values(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in encoder.named_parameters()}


def test_same_seed_same_weights(build, kind: str) -> None:
    torch.manual_seed(1)
    first = values(build(kind, seed=3))
    torch.manual_seed(2)
    again, other = values(build(kind, seed=3)), values(build(kind, seed=4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing == {name for name in first if first[name].ndim == 2 and "modulation" not in name}


def test_norms_are_one_and_biases_zero(build, kind: str) -> None:
    for name, weight in values(build(kind)).items():
        if "modulation" in name or name.endswith("bias"):
            assert not weight.any(), name
        elif weight.ndim == 1:
            assert (weight == 1).all(), name


def test_matrices_are_normal_and_smaller_where_they_write_into_the_residual(build) -> None:
    for name, weight in values(build(WIDE)).items():
        if weight.ndim == 1:
            continue
        writes = name.endswith(("linear_proj.weight", "linear_fc2.weight"))
        std = 0.05 / (math.sqrt(2 * WIDE.num_layers) if writes else 1)
        error = std / math.sqrt(weight.numel())
        assert abs(weight.mean()) < 5 * error, name
        assert abs(weight.std() - std) < 5 * error, name  # of a normal's deviation the error is smaller by sqrt(2)
        assert (weight.abs() < 2 * std).float().mean() == pytest.approx(0.9545, abs=0.01), name


def test_no_two_parameters_are_alike(build) -> None:
    matrices = [weight.flatten()[:4096] for weight in values(build(WIDE)).values() if weight.ndim == 2]
    correlations = torch.corrcoef(torch.stack(matrices)).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(4096)
