"""The estimate of a step, against arithmetic by hand."""

from dataclasses import replace

import pytest

from d2plm_megatron.config.sizing import training_flops
from d2plm_megatron.rehearsal.estimate import (
    CALL_S,
    LINK_SHARE,
    MATRIX_SHARE,
    MEMORY_SHARE,
    TOUCHES,
    StepTime,
    estimate,
    seconds_of,
    sent,
    step_time,
)
from tests.rehearsed import GIGA, GPU, job, rank, traffic


@pytest.mark.parametrize(
    ("collective", "num_ranks", "share"),
    [
        ("allgather_base", 8, 7 / 8),
        ("allgather_into_tensor_coalesced", 2, 1 / 2),
        ("reduce_scatter_base", 4, 3 / 4),
        ("allreduce", 4, 2 * 3 / 4),
        ("broadcast", 4, 3 / 4),
        ("send", 4, 1),
        ("recv", 4, 0),
    ],
)
def test_what_a_rank_sends_is_that_of_a_ring(collective: str, num_ranks: int, share: float) -> None:
    assert sent(traffic(collective, tuple(range(num_ranks)), 1000)) == pytest.approx(1000 * share)


@pytest.mark.parametrize(
    ("ranks", "bandwidth"),
    [
        ((0, 1, 2, 3), 400),  # in a node
        ((7, 8), 40),  # neighbours in two nodes
        (tuple(range(16)), 320),  # two whole nodes: eight network cards each
        (tuple(range(0, 64, 8)), 40),  # one of each node
        (tuple(range(0, 32, 2)), 160),
        ((0, 1, 8), 40),  # the node with fewest members is the narrowest
    ],
)
def test_a_ring_is_as_fast_as_its_slowest_link(ranks: tuple[int, ...], bandwidth: float) -> None:
    one = traffic("send", ranks, 10 * GIGA, calls=3)
    assert seconds_of(one, GPU) == pytest.approx(3 * CALL_S + 10 / (bandwidth * LINK_SHARE))


def test_computing_is_operations_and_touched_memory() -> None:
    found = step_time(job(), rank(flops=7 * 10**14, activations=GIGA, kept=2 * GIGA))
    assert found.compute == pytest.approx(0.7 / MATRIX_SHARE)
    update = 2 + 2 * (2 + 2) + 2
    assert found.memory == pytest.approx((TOUCHES * 1 * 4 + update) / (2000 * MEMORY_SHARE))
    assert (found.tensor, found.data, found.pipeline, found.other) == (0, 0, 0, 0)
    assert found.total == pytest.approx(found.compute + found.memory)
    assert found.binds == "compute"
    in_fp32 = replace(job(), recipe=replace(job().recipe, train=replace(job().recipe.train, precision="fp32")))
    assert step_time(in_fp32, rank(flops=7 * 10**14)).compute == pytest.approx(14 / MATRIX_SHARE)


def test_tensor_traffic_is_hidden_by_nothing() -> None:
    one = traffic("allgather_base", tuple(range(8)), 320 * GIGA, calls=100)
    found = step_time(job(8, tensor=8), rank(one, flops=10**12))
    assert found.tensor == pytest.approx(100 * CALL_S + 280 / (400 * LINK_SHARE))
    assert found.binds == "tensor"


def test_gathers_hide_in_a_forward_pass_and_reductions_in_a_backward_pass() -> None:
    """One pack of four takes a second: a third of it forward, two thirds backward."""
    flops = round(4 * 1000e12 * MATRIX_SHARE)
    gather, reduce = (
        traffic(kind, (0, 8), round(size * 2 * 40 * LINK_SHARE * GIGA), group="data")
        for kind, size in (("allgather_base", 0.5), ("reduce_scatter_base", 1.0))
    )
    late = traffic("allreduce", (0, 8), 0, calls=1000, group="data", phase="update")
    assert step_time(job(2), rank(gather, flops=flops)).data == pytest.approx(0.5 + CALL_S - 1 / 3)
    assert step_time(job(2), rank(reduce, flops=flops)).data == pytest.approx(1.0 + CALL_S - 2 / 3)
    assert step_time(job(2), rank(late, flops=flops)).data == pytest.approx(1000 * CALL_S)
    fully = job(2, sharding="parameters")
    assert step_time(fully, rank(gather, reduce, flops=flops)).data == 0
    assert step_time(fully, rank(gather, reduce, flops=flops // 4)).data == pytest.approx(0.5 + 2 * CALL_S)


def test_a_pipeline_waits_for_its_bubble_and_its_messages() -> None:
    messages = traffic("send", (0, 1), 32 * GIGA, 8, "pipeline")
    found = step_time(job(4, packs=8, pipeline=4), rank(messages, flops=10**15))
    assert found.pipeline == pytest.approx(3 / 8 * found.compute + 8 * CALL_S + 32 / (400 * LINK_SHARE))


def test_a_first_stage_keeps_several_packs_at_a_time() -> None:
    """Its activations are those of four packs, the last stage's those of one."""
    layout, expected = job(4, packs=8, pipeline=4), pytest.approx(TOUCHES * 8 / (2000 * MEMORY_SHARE))
    assert step_time(layout, rank(activations=4 * GIGA)).memory == expected
    assert step_time(layout, rank(activations=GIGA, stage=3)).memory == expected


def test_the_slowest_rank_sets_the_pace() -> None:
    slow, fast = rank(flops=2 * 10**14), replace(rank(flops=10**14, stage=1), rank=1)
    layout = job(2, pipeline=2)
    found = estimate(layout, [fast, slow])
    assert (found.slowest, found.step) == (0, step_time(layout, slow))
    tokens = 4 * 8192
    assert found.tokens_per_second == pytest.approx(tokens / found.step.total)
    flops = training_flops(layout.recipe.model, tokens, tokens * 256)
    assert found.mfu == pytest.approx(flops / (found.step.total * 2 * 1000e12))


def test_what_takes_longest_binds() -> None:
    times = StepTime(compute=1.0, memory=0.5, tensor=0.2, data=1.4, pipeline=0.0, other=9.0)
    assert times.binds == "compute"
    assert replace(times, data=1.6).binds == "data"
