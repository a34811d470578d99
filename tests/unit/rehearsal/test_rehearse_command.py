"""d2plm rehearse: what it writes and prints, what fits, which layouts are tried, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from d2plm_megatron.config.fitting import MARGIN
from d2plm_megatron.config.sizing import GIB
from d2plm_megatron.console import run
from d2plm_megatron.rehearsal.__main__ import asked_ranks, main
from d2plm_megatron.rehearsal.compare import SHARDINGS, ends, layouts, may_fit
from d2plm_megatron.rehearsal.record import Rehearsal, as_json
from d2plm_megatron.rehearsal.table import print_layouts, print_rehearsal
from tests.rehearsed import job, rank, traffic

SMALL = ["model=tiny", "data.tokens_per_pack=512", "data.max_length_residues=100", "train.global_batch_tokens=4096"]


def of_gib(activations: float, memory: float = 80.0) -> Rehearsal:
    """Ten GiB of each kind that is kept, and so many of activations."""
    kept = rank(
        traffic("allreduce", (0, 1), 3 * GIB), kept=10 * GIB, activations=round(activations * GIB), flops=10**15
    )
    return Rehearsal(job=replace(job(2), gpu_memory=memory), ranks=(kept,), comparisons=0)


def test_what_fits_leaves_a_margin() -> None:
    assert of_gib(30.0, memory=80 / (1 - MARGIN) + 0.01).fits
    too_much = of_gib(30.0, memory=80 / (1 - MARGIN) - 0.01)
    assert not too_much.fits
    with pytest.raises(ValueError, match=r"80 GiB per GPU are needed .* activations: set data.tokens_per_pack=4096"):
        too_much.check_fits()


def test_the_peak_of_the_update_counts_too() -> None:
    large = Rehearsal(job=replace(job(), gpu_memory=80.0), ranks=(rank(kept=GIB, update=75 * GIB),), comparisons=0)
    assert not large.fits


def test_the_json_tells_all_and_its_parts_add_up() -> None:
    found = json.loads(json.dumps(as_json(of_gib(30.0))))
    assert found.keys() >= {"schema", "date", "versions", "recipe", "world_size", "gpu", "margin", "fits", "estimate"}
    [first] = found["ranks"]
    assert sum(first["memory"].values()) == first["peak_passes"] == 80 * GIB
    assert first["traffic"][0] | {"bytes": 3 * GIB, "sent": 3 * GIB, "calls": 1} == first["traffic"][0]
    step = found["estimate"]["step"]
    assert step.pop("total") == pytest.approx(sum(step.values()))
    assert found["recipe"]["parallel.tensor"] == 1


def test_the_tables_say_what_the_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    found = of_gib(30.0)
    print_rehearsal(found)
    said = capsys.readouterr().out
    assert "too much: 80.0 of 80 GiB, on rank 0 (up to 72 would fit)" in said
    assert f"{found.estimate.mfu:.1%}" in said
    print_layouts([of_gib(10.0), found])
    said = capsys.readouterr().out
    assert "the fastest that fits: parallel.tensor=1 parallel.sequence=false parallel.pipeline=1" in said
    print_layouts([found])
    assert "the fastest that fits" not in capsys.readouterr().out


def test_layouts_are_those_that_a_run_could_have() -> None:
    tried = list(layouts(job(16, packs=8)))
    assert len({one.layout for one in tried}) == len(tried)
    for one in tried:
        one.check_layout()
        parallel = one.recipe.parallel
        assert parallel.tensor <= one.gpu.gpus_per_node
        assert parallel.sequence == (parallel.tensor > 1)
        assert one.num_packs >= parallel.pipeline
        assert not (parallel.sharding == "parameters" and parallel.pipeline > 1)
    found = {(one.recipe.parallel.tensor, one.recipe.parallel.pipeline) for one in tried}
    assert {(1, 1), (8, 1), (1, 8), (8, 2), (2, 4)} <= found
    assert len(list(layouts(job(1)))) == 1  # alone there is nothing to share


def test_what_arithmetic_rules_out_is_not_rehearsed() -> None:
    assert may_fit(job())
    assert not may_fit(replace(job(), gpu_memory=1.0))


def test_both_ends_of_a_pipeline_are_rehearsed() -> None:
    assert ends(job(16, tensor=2)) == (0,)
    assert ends(job(16, tensor=2, pipeline=4)) == (0, 12)


def test_layouts_of_a_small_world_are_rehearsed_and_ranked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "layouts.json"
    words = ["absorbing_tiny", *SMALL[1:]]
    main(words, world_size=2, gpu="A100", gpus_per_node=1, compare=True, output=output)
    said, found = capsys.readouterr(), json.loads(output.read_text())["layouts"]
    assert "4 layouts for 2 GPUs; 0 need more memory than there is" in said.err
    speeds = [one["estimate"]["tokens_per_second"] for one in found]
    assert speeds == sorted(speeds, reverse=True)
    assert all(one["fits"] and one["peak_bytes"] > 0 for one in found)
    ranks = {tuple(one["overrides"][2:]): one["ranks"] for one in found}
    assert ranks == {
        **{("parallel.pipeline=1", f"parallel.sharding={kind}"): [0] for kind in SHARDINGS},
        ("parallel.pipeline=2", "parallel.sharding=optimizer"): [0, 1],
    }
    assert f"the fastest that fits: {' '.join(found[0]['overrides'])}" in said.out


def test_layouts_that_cannot_fit_are_told_in_a_line() -> None:
    with pytest.raises(ValueError, match="no layout of 2 GPUs of 1 GiB can hold the run"):
        main(["fm_450m"], world_size=2, gpu_memory=1.0, compare=True)


def test_a_command_rehearses_writes_and_says_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, output = ["absorbing_tiny", *SMALL[1:]], tmp_path / "found.json"
    large = ["data.tokens_per_pack=131072", "train.global_batch_tokens=131072"]
    main([*words, "parallel.tensor=2"], world_size=4, ranks="0,3", output=output, length=100)
    said = capsys.readouterr()
    assert "the ranks agree" in said.out
    assert "rank 3 rehearsed in" in said.err
    assert [one["rank"] for one in json.loads(output.read_text())["ranks"]] == [0, 3]
    with pytest.raises(ValueError, match="GiB per GPU are needed and there are 1"):
        main(["absorbing_tiny", *large], ranks="0", gpu_memory=1.0, length=131_072)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give a recipe's name"),
        ("fm_45m --world-size 8", "did you mean fm_450m"),
        ("esm2_3b --world-size 63", "needs a multiple of 2 processes"),
        ("fm_450m --world-size 96", "train.global_batch_tokens"),
        ("fm_450m --world-size 0", "--world-size 0: must be at least 1"),
        ("fm_450m --world-size 8 --ranks 0,8", "8 is no rank of 8 processes (0 to 7)"),
        ("fm_450m --world-size 8 --compare --ranks 0", "--ranks=0: --compare rehearses"),
        ("esm2_3b --world-size 7 --compare", "train.global_batch_tokens"),
        ("fm_450m --world-size 8 --gpu H10", "did you mean H100"),
        ("fm_450m --world-size 8 --gpu-memory 0", "--gpu-memory 0.0: must lie between"),
        ("fm_450m --world-size 8 --gpus-per-node 0", "--gpus-per-node 0: must be at least 1"),
        ("fm_450m --world-size 8 --length 90000", "--length 90000: must lie between 1 and 8,192"),
        ("fm_450m --world-size 8 --output nowhere/x.json", "there is no folder nowhere"),
        ("fm_450m --world-size 8 optimizer.lrr=1", "optimizer.lrr"),
    ],
)
def test_a_slip_is_told_in_a_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(main, words=words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: ") and said.count("\n") == 1
    assert message in said


@pytest.mark.parametrize("text", ["", "a", "0,,1", "-1", "0-3", "4", "1.5"])
def test_ranks_that_there_are_none_of_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--ranks="):
        asked_ranks(text, 4)


def test_ranks_are_asked_for_once_each() -> None:
    assert asked_ranks("3, 0,3", 4) == (0, 3)
    assert asked_ranks("auto", 4) == ()
