"""The dry run: flagships from one GPU to a thousand, and nothing that is typed ends it in more than a line."""

import importlib
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.commandline.dry_run import check_batch, print_plan
from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Parallel, Recipe
from d2plm_megatron.config.fitting import MARGIN
from d2plm_megatron.config.overrides import keys_of, resolve
from d2plm_megatron.config.sizing import GIB, memory, memory_of_stages
from d2plm_megatron.parallel.launched import check_layout
from recipes import absorbing_450m, fm_450m, fm_tiny, fm_uniform_tiny, mlm_tiny

AS_THEY_ARE = {
    "absorbing_450m": 128,
    "fm_450m": 128,
    "fm_uniform_450m": 128,
    "mlm_450m": 128,
    "esm2_8m": 128,
    "esm2_650m": 256,
    "esm2_3b": 512,
}
"""The most GPUs that a flagship takes without an override."""


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_flagships_run_on_any_power_of_two_of_gpus_or_name_what_makes_them(name: str) -> None:
    recipe = importlib.import_module(f"recipes.{name}").recipe()
    for num_gpus in (recipe.parallel.tensor << power for power in range(11)):
        data_size = check_layout(recipe.parallel, num_gpus)
        if num_gpus <= AS_THEY_ARE[name]:
            check_batch(recipe, data_size)
        elif num_gpus <= 1024:
            for override in suggested(recipe, data_size, expected=2):
                check_batch(resolve(recipe, [override]), data_size)


@pytest.mark.parametrize("num_gpus", [3, 6, 7, 24, 96, 1000])
def test_what_is_suggested_works_on_any_number_of_gpus(num_gpus: int) -> None:
    for override in suggested(fm_450m.recipe(), num_gpus, expected=1):
        check_batch(resolve(fm_450m.recipe(), [override]), num_gpus)


def suggested(recipe: Recipe, data_size: int, expected: int) -> list[str]:
    with pytest.raises(ValueError, match="must be a multiple of") as refusal:
        check_batch(recipe, data_size)
    overrides = re.findall(r"[a-z_.]+=\d+", str(refusal.value).partition("; set ")[2])
    assert len(overrides) == expected
    return overrides


def test_a_batch_of_no_whole_packs_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"; set train.global_batch_tokens=98304$"):
        resolve(Recipe(), ["train.global_batch_tokens=100000"])
    assert resolve(Recipe(), ["train.global_batch_tokens=98304"])


def test_what_fits_and_what_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = fm_450m.recipe()
    needed = memory(recipe, 64).total / GIB
    print_plan(recipe, 64, 80)
    assert f"fits: {needed:.0f} of 80 GiB (up to 72 would fit)" in capsys.readouterr().out
    print_plan(recipe, 64, needed / (1 - MARGIN) + 0.01)
    with pytest.raises(ValueError, match=r"10% are left .* activations: set data.tokens_per_pack=4096, or parallel"):
        print_plan(recipe, 64, needed / (1 - MARGIN) - 0.01)
    assert "too much: " in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"parallel\.tensor=4"):
        print_plan(resolve(recipe, ["parallel.tensor=2"]), 2, 4)


def test_the_kind_of_gpu_says_memory_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = fm_450m.recipe()
    print_plan(recipe, 64, None, "h100")
    said = " ".join(capsys.readouterr().out.split())
    assert "of 80 GiB" in said
    operations = float(re.search(r"operations │ ([\d.e+]+)", said)[1])
    fast, slow, unit = re.search(r"([\d.]+) \w+ to ([\d.]+) (\w+) on 64 x H100, at 50% to 30% MFU", said).groups()
    assert unit == "hours"
    assert float(fast) == pytest.approx(operations / (64 * 989e12 * 0.5) / 3600, rel=0.01)
    assert float(slow) == pytest.approx(float(fast) * 5 / 3, rel=0.01)
    with pytest.raises(ValueError, match=r"--gpu H10: .*did you mean H100"):
        print_plan(recipe, 64, None, "H10")
    with pytest.raises(ValueError, match="and there are 24, "):
        print_plan(resolve(recipe, ["data.tokens_per_pack=65536"]), 8, None, "RTX 4090")


def test_tokens_are_compared_with_what_the_size_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(absorbing_450m.recipe(), 8, None)
    said = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "98 billion tokens, each once, for this size (Cheng et al. 2024, extrapolated to absorbing)" in said
    assert "the run has 107% of them" in said
    print_plan(resolve(absorbing_450m.recipe(), ["train.trainable=*norm*"]), 8, None)
    assert "compute-optimal" not in capsys.readouterr().out


def test_stages_of_a_pipeline_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = resolve(absorbing_450m.recipe(), ["parallel.pipeline=4"])
    print_plan(recipe, 8, None)
    totals = ", ".join(f"{stage.total / GIB:.1f}" for stage in memory_of_stages(recipe, 2))
    assert f"{totals} GiB; below, that of the largest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("num_processes", "gpu_memory", "message"),
    [
        (0, 80, "--world-size 0: must be at least 1"),
        (-3, 80, "--world-size -3: must be at least 1"),
        (8, 0, "--gpu-memory 0: must lie between"),
        (8, float("nan"), "--gpu-memory nan: must lie between"),
        (8, float("inf"), "--gpu-memory inf: must lie between"),
    ],
)
def test_impossible_machines_are_refused(num_processes: int, gpu_memory: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        print_plan(absorbing_450m.recipe(), num_processes, gpu_memory)


def test_both_sides_of_the_data_must_be_there(
    write_proteins: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = write_proteins([30] * 50)
    recipe = resolve(fm_tiny.recipe(), [f"data.train={prefix}", f"data.validation={prefix}"])
    print_plan(recipe, 1, None)
    assert "50 proteins held out" in capsys.readouterr().out
    with pytest.raises(OSError, match="nowhere"):
        print_plan(resolve(recipe, ["data.validation=nowhere"]), 1, None)


VALUES = (
    *("", "null", "true", "0", "-1", "1", "0.5", "1e5", "1e20", "inf", "-inf", "nan", "9" * 5000, "é", "a=b", "[a"),
    *("'", "a,b", "{a: 1}", "${name}", "a\nb", "\udce9", "x" * 5000, "~/x", "/", "..", "range(1,9)", "polynomial:nan"),
)


@pytest.mark.parametrize("value", VALUES)
def test_no_value_of_any_key_ends_in_more_than_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for parent in (fm_tiny, fm_uniform_tiny, mlm_tiny):
        for key in (*keys_of(parent.recipe()), "model", "objective", "--world-size", "--gpu-memory", "--gpu"):
            arguments = [f"{key}={value}", "--dry-run"]
            monkeypatch.setattr(sys, "argv", ["recipe.py", *arguments])
            begun = time.process_time()
            try:
                main(parent.recipe)
                code: object = 0
            except SystemExit as ended:
                code = ended.code
            said = capsys.readouterr()
            assert time.process_time() - begun < 2, arguments
            assert (code, said.err.count("\n"), said.err[:7]) in ((0, 0, ""), (2, 1, "error: ")), (arguments, said.err)


def test_a_layout_of_no_processes_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 2 processes, but there are 3"):
        check_layout(Parallel(tensor=2), 3)
