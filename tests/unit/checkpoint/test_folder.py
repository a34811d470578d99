"""What a run folder keeps, and which checkpoint is taken."""

import json
import os
from pathlib import Path

import pytest

from d2plm_megatron.checkpoint import integrity
from d2plm_megatron.checkpoint.folder import Checkpoint, RunFolder
from d2plm_megatron.config import MODEL_SIZES, Recipe


def _write(run: RunFolder, step: int, is_best: bool = False, keep_last: int = 2) -> None:
    folder = run.begin(step)
    (folder / "tensors").write_text(f"of step {step}")
    state = {"step": step, "files": integrity.describe([folder / "tensors"])}
    run.complete(step, Checkpoint(folder, Recipe(), state), is_best, keep_last)


def _names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("step_*"))


def test_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 7):
        _write(run, step, is_best=step == 2)
    assert _names(run) == ["step_00000002", "step_00000005", "step_00000006"]
    assert run.latest() == run.checkpoints / "step_00000006"
    assert run.best() == run.checkpoints / "step_00000002"


def test_new_best_lets_the_old_one_go(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 7):
        _write(run, step, is_best=step in (1, 4), keep_last=1)
    assert _names(run) == ["step_00000004", "step_00000006"]


def test_incomplete_checkpoint_is_never_taken(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    run.begin(2)
    assert run.latest() == run.checkpoints / "step_00000001"
    assert Checkpoint.open(tmp_path).state["step"] == 1


def test_lost_pointer_is_no_lost_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    _write(run, 2)
    (run.checkpoints / "latest").unlink()
    assert run.latest() == run.checkpoints / "step_00000002"


def test_step_written_again_replaces_the_old_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    folder = run.begin(1)
    run.complete(1, Checkpoint(folder, Recipe(), {"again": True, "files": {}}), is_best=False, keep_last=2)
    assert Checkpoint.open(tmp_path).state["again"]
    assert _names(run) == ["step_00000001"]


def test_newest_come_first_and_what_lies_beyond_the_latest_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 5):
        _write(run, step, keep_last=9)
    (run.checkpoints / "latest").write_text("step_00000003")
    assert [path.name[-1] for path in run.newest_first()] == ["3", "2", "1", "4"]


def test_checkpoint_just_written_outlives_higher_steps_that_were_given_up(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in (1, 2, 3):
        _write(run, step, keep_last=9)
    (run.checkpoints / "latest").write_text("step_00000001")
    _write(run, 2, keep_last=1)
    assert _names(run) == ["step_00000002"]
    assert run.latest() == run.checkpoints / "step_00000002"


def test_what_killed_saves_have_left_is_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for left in (".step_00000001.incomplete", ".step_00000002.replaced"):
        (run.checkpoints / left).mkdir(parents=True)
        (run.checkpoints / left / "tensors").touch()
    _write(run, 3)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["latest", "step_00000003"]


def test_files_that_are_missing_or_cut_are_damage_at_once_and_another_format_is_not(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    folder = run.checkpoints / "step_00000001"
    for name in ("recipe.yaml", "tensors"):
        whole = (folder / name).read_text()
        (folder / name).write_text(whole[:-1])
        with pytest.raises(integrity.Damaged, match=f"{name} has .* bytes, not"):
            Checkpoint.open(tmp_path)
        (folder / name).unlink()
        with pytest.raises(integrity.Damaged, match=f"{name} is missing"):
            Checkpoint.open(tmp_path)
        (folder / name).write_text(whole)
    Checkpoint.open(tmp_path)
    (folder / "state.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match="format 1") as refused:
        Checkpoint.open(tmp_path)
    assert not isinstance(refused.value, integrity.Damaged)


def test_damage_is_named_and_the_others_are_offered(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in (1, 2):
        _write(run, step)
    checkpoint = Checkpoint.open(tmp_path)
    checkpoint.check_whole()
    (checkpoint.path / "tensors").write_text("of step 3")
    with pytest.raises(ValueError, match=r"step_00000002: damaged: tensors has changed; there is also step_00000001"):
        checkpoint.check_whole()
    (checkpoint.path / "tensors").write_text("of")
    (checkpoint.path / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=r"recipe\.yaml is missing; tensors has 2 bytes, not 9"):
        checkpoint.check_whole()


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    refused = pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*; choose another name=")
    with run.locked(), refused, RunFolder(tmp_path).locked():
        pass
    with run.locked():
        pass


def test_folder_without_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        Checkpoint.open(tmp_path)


def test_other_format_is_an_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    state = run.checkpoints / "step_00000001" / "state.json"
    state.write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99; this version reads format 2"):
        Checkpoint.open(tmp_path)
    state.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Checkpoint.open(tmp_path)


def test_checkpoint_of_another_size_names_the_difference(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _write(run, 1)
    checkpoint = Checkpoint.open(tmp_path)
    checkpoint.check_model(Recipe())
    with pytest.raises(ValueError, match=r"saved with model\.num_layers=24, but the recipe says 4"):
        checkpoint.check_model(Recipe(model=MODEL_SIZES["tiny"]))
