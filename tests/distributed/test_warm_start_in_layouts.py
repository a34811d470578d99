"""A run begins with the weights of another in any layout: the same to the bit, and it then trains like one process."""

from pathlib import Path

import pytest

from d2plm_megatron.runs.tensor_index import EMA, RAW
from tests.distributed.wanted import BEGUN, SEVENTH, name
from verification.layouts import ALONE
from verification.parity import judge
from verification.tiny_runs import Run, whole_tensors

pytestmark = pytest.mark.timeout(1800)  # the first test waits for all runs

RENAMED = {
    "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
    "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
}
"""As norms are called where there is time conditioning, and where there is none."""


@pytest.mark.parametrize("layout", BEGUN)
def test_weights_are_those_of_the_parent_to_the_bit(layout: str, runs: dict[str, Run]) -> None:
    parent = runs[f"{name('absorbing', 'DP2+optimizer', 'fp32')}/straight"].folder
    stored, found = whole_tensors(Path(parent, SEVENTH)), runs[f"begun in {layout}"].initial_weights
    added = {name for name in found if "modulation" in name}
    assert added
    for tensor in found.keys() - added:
        theirs = tensor.removeprefix(f"{RAW}.")
        for ours, fused in RENAMED.items():
            theirs = theirs.replace(f"layers.{ours}", f"layers.{fused}")
        assert found[tensor].equal(stored[f"{EMA}.{theirs}"]), tensor
    assert all(found[tensor].equal(runs[f"begun in {ALONE}"].initial_weights[tensor]) for tensor in added)


@pytest.mark.parametrize("layout", [layout for layout in BEGUN if layout != ALONE])
def test_it_trains_like_one_process(layout: str, runs: dict[str, Run]) -> None:
    alone = runs[f"begun in {ALONE}"]
    assert alone.began_at == 0
    assert not judge(runs[f"begun in {layout}"], alone, alone).failure
