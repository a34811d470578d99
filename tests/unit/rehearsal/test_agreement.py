"""Ranks that would not meet are told: by their numbers, their group and the call."""

import re
from dataclasses import replace

import pytest

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe, Train
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.rehearsal.agreement import check_agreement
from d2plm_megatron.rehearsal.ledger import Call
from d2plm_megatron.rehearsal.rank import RehearsedRank, rehearse_rank
from d2plm_megatron.rehearsal.world import ranks_to_rehearse

RECIPE = Recipe(
    model=replace(MODEL_SIZES["tiny"], num_layers=2),
    data=Data(max_length_residues=126, tokens_per_pack=128),
    train=Train(global_batch_tokens=512),
)


@pytest.fixture(scope="module")
def job() -> list[RehearsedRank]:
    """Of 8 processes: two tensor, two pipeline and two data ranks."""
    recipe = resolve(RECIPE, ["parallel.tensor=2", "parallel.sequence=true", "parallel.pipeline=2"])
    return [rehearse_rank(recipe, rank, 8) for rank in ranks_to_rehearse(recipe.parallel, 8)]


def changed(found: RehearsedRank, group: str, change: str) -> RehearsedRank:
    """The same rank with another call, one less or one more in one of its groups."""
    ranks = next(item.ranks for item in found.traffic if item.group == group)
    calls = list(found.orders[ranks])
    if change == "missing":
        del calls[1]
    elif change == "bytes":
        calls[1] = replace(calls[1], num_bytes=calls[1].num_bytes + 2)
    elif change == "collective":
        calls[1] = replace(calls[1], collective="broadcast")
    else:
        calls.append(Call("send", found.rank, 8))
    return replace(found, orders={**found.orders, ranks: calls})


def test_ranks_of_a_job_agree(job: list[RehearsedRank]) -> None:
    assert [rank.rank for rank in job] == [0, 1, 2, 4]
    groups = {item.group for rank in job for item in rank.traffic}
    assert groups == {"tensor", "pipeline", "data", "world"}
    of_rank_0 = {ranks: len(calls) for ranks, calls in job[0].orders.items()}
    assert check_agreement(job) > sum(of_rank_0.values())
    assert check_agreement(job[:1]) == 0


@pytest.mark.parametrize(
    ("place", "group", "change", "told"),
    [
        (1, "tensor", "missing", r"ranks 0 and 1 .* tensor group of 2 ranks, collective \d+ is "),
        (1, "tensor", "bytes", r"ranks 0 and 1 .* tensor group of 2 ranks, collective 2 is \w+ of [\d,]+ bytes in"),
        (2, "data", "collective", r"ranks 0 and 2 .* data group of 2 ranks, collective 2 is .* broadcast of"),
        (3, "pipeline", "missing", r"ranks 0 and 4 .* pipeline group of 2 ranks, message \d is .* none in rank"),
    ],
)
def test_what_differs_is_told(job: list[RehearsedRank], place: int, group: str, change: str, told: str) -> None:
    ranks = [*job[:place], changed(job[place], group, change), *job[place + 1 :]]
    with pytest.raises(ValueError, match="would wait for each other") as error:
        check_agreement(ranks)
    assert re.search(told, str(error.value)), error.value


def test_a_message_that_nobody_takes_is_told(job: list[RehearsedRank]) -> None:
    ranks = next(item.ranks for item in job[0].traffic if item.group == "pipeline")
    lonely = replace(job[0], orders={**job[0].orders, ranks: [*job[0].orders[ranks], Call("send", 4, 8)]})
    with pytest.raises(ValueError, match=r"message \d is send of 8 bytes in rank 0 and none in rank 4"):
        check_agreement([lonely, *job[1:]])


def test_another_number_of_packs_is_told(job: list[RehearsedRank]) -> None:
    recipe = resolve(RECIPE, ["parallel.tensor=2", "parallel.sequence=true", "parallel.pipeline=2"])
    longer = rehearse_rank(resolve(recipe, ["train.global_batch_tokens=768"]), 1, 8)
    with pytest.raises(ValueError, match=r"ranks 0 and 1 .* tensor group"):
        check_agreement([job[0], longer])
