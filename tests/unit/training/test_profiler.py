"""A profile of some steps: there when it was asked for, whole, and without a trace in the training."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.config import Data, Model, Profile, Recipe, Train
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.training.trainer import Trainer
from verification.tiny_runs import without_clocks


@pytest.fixture
def recipe(write_proteins: Callable[..., Path], tmp_path: Path) -> Recipe:
    return Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 30)), max_length_residues=40, tokens_per_pack=64),
        train=Train(max_steps=5, precision="fp32", global_batch_tokens=64, log_every_steps=1, save_every_steps=2),
    )


def profiled(recipe: Recipe, name: str, **options: object) -> Recipe:
    return replace(recipe, name=name, profile=Profile(**options))  # type: ignore[arg-type]


def traces(recipe: Recipe) -> list[Path]:
    return sorted((Path(recipe.output) / recipe.name).glob("profile/*"))


def test_trace_is_whole_and_the_training_the_same_to_the_bit(recipe: Recipe, one_process: Processes) -> None:
    with_profile = profiled(recipe, "profiled", start_step=2, num_steps=2)
    trainers = [Trainer.of(one, one_process) for one in (recipe, with_profile)]
    for trainer in trainers:
        trainer.fit()
    assert not traces(recipe)
    [path] = traces(with_profile)
    assert path.name == "rank0-steps2-3.pt.trace.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    updates = [event for event in events if event.get("name") == "aten::embedding"]
    assert len(updates) == 2, "one for each of two steps"
    plain, watched = (RunFolder(Path(recipe.output) / name) for name in (recipe.name, "profiled"))
    assert without_clocks(plain) == without_clocks(watched)
    weights = zip(*(trainer.engine.masters.weights for trainer in trainers), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_run_that_goes_on_behind_the_window_says_so(
    recipe: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer.of(recipe, one_process).fit()
    longer = replace(recipe, train=replace(recipe.train, max_steps=7))
    Trainer.of(profiled(longer, recipe.name, start_step=5), one_process).fit()
    assert "profile.start_step=5: the run is at step 5 already; nothing is profiled" in capsys.readouterr().err
    assert not traces(recipe)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"start_step": 2, "ranks": "1 7"}, []),
        ({"start_step": 6}, []),
        ({"start_step": 5, "num_steps": 3}, ["rank0-steps5-5.pt.trace.json.gz"]),
    ],
)
def test_no_trace_of_other_ranks_and_of_steps_that_there_are_none_of(
    recipe: Recipe, one_process: Processes, options: dict[str, object], names: list[str]
) -> None:
    one = profiled(recipe, "none", **options)
    Trainer.of(one, one_process).fit()
    assert [path.name for path in traces(one)] == names


def test_trace_that_cannot_be_written_stops_nothing(
    recipe: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    one = profiled(recipe, "full", start_step=2)
    folder = Path(one.output) / one.name
    folder.mkdir()
    (folder / "profile").write_text("in the way")
    assert Trainer.of(one, one_process).fit()
    assert "rank0-steps2-4.pt.trace.json.gz: the trace was not written: " in capsys.readouterr().err


def test_what_makes_no_sense_is_refused(recipe: Recipe, one_process: Processes) -> None:
    with pytest.raises(ValueError, match=r"^profile.ranks=a 1: write numbers with spaces between them, or all$"):
        Profile(ranks="a 1")
    with pytest.raises(ValueError, match=r"^profile.tool=nsys: Nsight Systems profiles GPUs, and there is none"):
        Trainer.of(profiled(recipe, "nsys", start_step=1, tool="nsys"), one_process)
    assert Profile(ranks="all").chosen(3) == {0, 1, 2}


def test_profiler_that_does_not_begin_stops_no_training(
    recipe: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(trace: torch.profiler.profile) -> None:
        raise RuntimeError("another profiler is at work")

    monkeypatch.setattr(torch.profiler.profile, "start", busy)
    watched = profiled(recipe, "watched", start_step=2)
    trainer = Trainer.of(watched, one_process)
    trainer.fit()
    assert trainer.progress.step == 5 and not traces(watched)
    assert "nothing is profiled: another profiler is at work" in capsys.readouterr().err
