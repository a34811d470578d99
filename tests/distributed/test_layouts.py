"""Every layout trains the same: what goes in to the bit, what comes out but for rounding. See verification.parity."""

import pytest

from tests.distributed.wanted import CELLS, COMPARED_STEPS, HARDEST, name
from verification.layouts import ALONE, LAYOUTS
from verification.parity import judge
from verification.tiny_runs import TINY, Run

pytestmark = pytest.mark.timeout(1800)  # the first test waits for all runs


@pytest.mark.parametrize(
    ("objective", "layout", "precision"), [cell for cell in CELLS if cell[1] != ALONE], ids=lambda part: part
)
def test_layout_trains_like_one_process(objective: str, layout: str, precision: str, runs: dict[str, Run]) -> None:
    run, alone = runs[name(objective, layout, precision)], runs[name(objective, ALONE, precision)]
    alone_in_fp32 = runs[name(objective, ALONE, "fp32")]
    assert len(alone.losses) == COMPARED_STEPS
    assert run.tensors.keys() == alone.tensors.keys()
    assert not judge(run, alone, alone_in_fp32).failure


def test_initial_weights_are_those_of_one_process_to_the_bit(runs: dict[str, Run]) -> None:
    alone = runs[name(HARDEST, ALONE, "fp32")].initial_weights
    for layout in LAYOUTS:
        found = runs[name(HARDEST, layout, "fp32")].initial_weights
        assert found.keys() == alone.keys()
        assert all(found[weight].equal(alone[weight]) for weight in alone), layout


def test_every_pack_holds_the_same_proteins_with_the_same_noise(runs: dict[str, Run]) -> None:
    alone = runs[name(HARDEST, ALONE, "fp32")].noisy_packs
    num_packs = COMPARED_STEPS * TINY.train.global_batch_tokens // TINY.data.tokens_per_pack
    assert len(alone) == num_packs
    assert len({protein for proteins in alone.values() for protein in proteins}) > 100
    for layout in LAYOUTS:
        assert runs[name(HARDEST, layout, "fp32")].noisy_packs == alone, layout


def test_gradients_are_added_up_in_several_parts(runs: dict[str, Run]) -> None:
    """As those of a large encoder are, while others are still computed."""
    for layout in ("DP2", "DP2+optimizer", "DP4+optimizer"):
        assert min(runs[name(HARDEST, layout, "fp32")].num_buckets) > 5, layout


def test_average_is_shared_out_where_the_optimizer_is(runs: dict[str, Run]) -> None:
    """Of 4 bytes to a parameter each rank holds its part, to the rounding of Megatron's buffers."""
    (alone,) = runs[name(HARDEST, ALONE, "fp32")].ema_bytes
    assert alone == 4 * sum(weight.numel() for weight in runs[name(HARDEST, ALONE, "fp32")].initial_weights.values())
    assert runs[name(HARDEST, "DP2", "fp32")].ema_bytes == [alone, alone]
    for layout in ("DP2+optimizer", "DP2+FSDP", "DP4+optimizer"):
        parts = runs[name(HARDEST, layout, "fp32")].ema_bytes
        assert sum(parts) == alone, layout
        assert max(parts) < 1.01 * alone / len(parts), layout


def test_another_run_is_not_taken_for_the_same(runs: dict[str, Run]) -> None:
    absorbing, mlm = runs[name("absorbing", ALONE, "fp32")], runs[name("mlm", ALONE, "fp32")]
    failure = judge(mlm, absorbing, absorbing).failure
    assert failure.startswith("pack 0 differs, loss")
    assert all(quantity in failure for quantity in ("gradient_norm", "weights", "ema", "whole_ema"))
    timed = runs[name(HARDEST, ALONE, "fp32")]
    assert judge(absorbing, absorbing, absorbing).failure == ""
    assert timed.initial_weights.keys() != absorbing.initial_weights.keys()
