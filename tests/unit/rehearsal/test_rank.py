"""Rehearsals of whole ranks: of every objective, of 15 billion parameters on 1,024; and what they leave behind."""

import sys
from dataclasses import asdict, replace

import pytest
import torch
import torch.distributed as dist

from d2plm_megatron.config import MODEL_SIZES, Data, Parallel, Recipe, Train, recipe_files
from d2plm_megatron.config.budget import TYPICAL_LENGTH
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.sizing import num_parameters, training_flops
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.rehearsal.agreement import check_agreement
from d2plm_megatron.rehearsal.rank import RehearsedRank, rehearse_rank
from d2plm_megatron.rehearsal.stand_ins import pack_of
from d2plm_megatron.rehearsal.world import ranks_to_rehearse
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs
from verification.layouts import OBJECTIVES

TINY = Recipe(
    model=replace(MODEL_SIZES["tiny"], num_layers=2),
    data=Data(max_length_residues=126, tokens_per_pack=128),
    train=Train(global_batch_tokens=512),
)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_rehearsed(name: str) -> None:
    recipe = resolve(TINY, [*OBJECTIVES[name], "parallel.sharding=none"])
    found = rehearse_rank(recipe, 1, 4)
    assert found.data_rank == 1 and found.num_operations > 100 and found.flops > 10**6
    assert found.kept["ema"] > 0 and found.kept["weights"] > 0 and found.activations > 0
    tables = 2_000_000 if name == "fm-blosum+t" else 0  # of what is known of a distance
    assert found.kept["other"] < 20_000 + tables, "what is it?"


def test_alone_and_in_fp32() -> None:
    found = rehearse_rank(resolve(TINY, ["train.precision=fp32"]), 0, 1)
    num_bytes = found.kept["weights"]
    assert found.kept["ema"] == num_bytes == found.kept["gradients"]
    assert found.traffic == () and found.orders == {} and check_agreement([found]) == 0


def test_no_such_job() -> None:
    with pytest.raises(ValueError, match="the last is 3"):
        rehearse_rank(TINY, 4, 4)
    with pytest.raises(ValueError, match="needs a multiple of 2 processes"):
        rehearse_rank(resolve(TINY, ["parallel.tensor=2"]), 0, 3)
    with pytest.raises(ValueError, match=r"train\.global_batch_tokens=512: must be a multiple"):
        rehearse_rank(TINY, 0, 3)


def trained_a_little() -> list[torch.Tensor]:
    """The weights of an engine after two real steps, and numbers drawn from torch's own generator."""
    torch.manual_seed(5)
    with parallel_context(TINY.parallel) as processes:
        engine = Engine(TINY, processes)
        for step in range(2):
            engine.prepare(step)
            pack = pack_of(128, 64)
            engine.update(run_packs(engine.wrapped, build(TINY.objective), [pack], processes.device, 0, True).loss)
        return [weight.clone() for weight in engine.masters.weights] + [torch.rand(3)]


@pytest.mark.parametrize("sharding", ["optimizer", "parameters"])
def test_nothing_of_a_rehearsal_stays(sharding: str) -> None:
    before, hook, drawn = trained_a_little(), sys.excepthook, torch.get_rng_state()
    layout = ["parallel.tensor=2", "parallel.sequence=true", f"parallel.sharding={sharding}"]
    rehearse_rank(resolve(TINY, layout), 2, 4)
    assert not dist.is_initialized() and sys.excepthook is hook and torch.equal(torch.get_rng_state(), drawn)
    after = trained_a_little()
    assert len(before) == len(after) > 10
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_not_beside_real_work() -> None:
    with parallel_context(Parallel()), pytest.raises(ValueError, match="close it first"):
        rehearse_rank(TINY, 0, 4)
    assert rehearse_rank(TINY, 0, 4).data_rank == 0


@pytest.fixture(scope="module")
def large() -> list[RehearsedRank]:
    """ESM-2 15B on 1,024 ranks, with two packs for each data rank."""
    layout = ["parallel.pipeline=4", "data.tokens_per_pack=8192", "train.global_batch_tokens=524288"]
    recipe = resolve(recipe_files.build(recipe_files.load(recipe_files.find("esm2_15b"))), layout)
    assert ranks_to_rehearse(recipe.parallel, 1024) == (0, 1, 248, 256, 512, 768)
    return [rehearse_rank(recipe, rank, 1024) for rank in (0, 1, 248, 256, 768)]


def test_15_billion_on_1024_ranks(large: list[RehearsedRank]) -> None:
    first, neighbour, last_data, middle, last = large
    assert [rank.pipeline_rank for rank in large] == [0, 0, 0, 1, 3]
    assert (neighbour.tensor_rank, last_data.data_rank) == (1, 31)
    assert check_agreement(large) > 250
    parameters = num_parameters(MODEL_SIZES["esm2_15b"]) / 32
    for rank in large:
        assert rank.kept["weights"] == pytest.approx(2 * parameters, rel=0.06)
        assert rank.kept["gradients"] == 2 * rank.kept["weights"]
        assert rank.kept["optimizer"] == pytest.approx(12 * parameters / 32, rel=0.06)
        assert rank.flops == pytest.approx(
            training_flops(MODEL_SIZES["esm2_15b"], 16384, 16384 * TYPICAL_LENGTH) / 32, rel=0.02
        )
    assert first.activations > middle.activations > last.activations, "fewer packs are under way further on"
    assert asdict(first) | {"rank": 1, "tensor_rank": 1, "orders": 0, "traffic": 0, "cpu_seconds": 0} == (
        asdict(neighbour) | {"orders": 0, "traffic": 0, "cpu_seconds": 0}
    )
