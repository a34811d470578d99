"""What a run folder keeps, and which checkpoint is taken."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.config import MODEL_SIZES, Recipe
from d2plm_megatron.runs import integrity
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.integrity import Damaged

Write = Callable[..., Path]
FILE = "00000.safetensors"


def _names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("step_*"))


def test_last_ones_and_the_best_are_kept(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 7):
        write_checkpoint(run, step, is_best=step == 2)
    assert _names(run) == ["step_00000002", "step_00000005", "step_00000006"]
    assert run.latest() == run.checkpoints / "step_00000006"
    assert run.best() == run.checkpoints / "step_00000002"


def test_new_best_lets_the_old_one_go(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 7):
        write_checkpoint(run, step, is_best=step in (1, 4), keep_last=1)
    assert _names(run) == ["step_00000004", "step_00000006"]


def test_nothing_goes_while_nobody_can_read_which_is_the_best(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1, is_best=True)
    (run.checkpoints / "best").write_bytes(b"\xff")
    for step in (2, 3):
        write_checkpoint(run, step, keep_last=1)
    assert _names(run) == ["step_00000001", "step_00000002", "step_00000003"]
    write_checkpoint(run, 4, is_best=True, keep_last=1)
    assert _names(run) == ["step_00000004"]


def test_own_files_are_those_that_training_writes(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    checkpoint = write_checkpoint(run, 1)
    for path in (run.evaluation, run.samples, tmp_path / "report.json", RunFolder(checkpoint).evaluation):
        path.write_text("")
    found = {str(path.relative_to(tmp_path)) for path in run.own_files()}
    assert found >= {"recipe.yaml", "metrics.jsonl", "checkpoints/latest", "checkpoints/step_00000001/state.json"}
    assert not [name for name in found if name.endswith(("evaluation.json", "samples.fasta", "report.json"))]
    assert {run.path / "recipe.yaml", checkpoint / "state.json"} <= set(RunFolder(checkpoint).own_files())


def test_incomplete_checkpoint_is_never_taken(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1)
    run.begin(2)
    assert run.latest() == run.checkpoints / "step_00000001"
    assert Checkpoint.open(tmp_path).state["progress"]["step"] == 1


def test_lost_pointer_is_no_lost_run(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1)
    write_checkpoint(run, 2)
    (run.checkpoints / "latest").unlink()
    assert run.latest() == run.checkpoints / "step_00000002"


def test_step_written_again_replaces_the_old_one(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1)
    write_checkpoint(run, 1, num_proteins=7)
    assert Checkpoint.open(tmp_path).state["progress"]["num_proteins"] == 7
    assert _names(run) == ["step_00000001"]


def test_newest_come_first_and_what_lies_beyond_the_latest_last(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    for step in range(1, 5):
        write_checkpoint(run, step, keep_last=9)
    run.point("latest", run.checkpoints / "step_00000003")
    assert [path.name[-1] for path in run.newest_first()] == ["3", "2", "1", "4"]


def test_checkpoint_just_written_outlives_higher_steps_that_were_given_up(
    tmp_path: Path, write_checkpoint: Write
) -> None:
    run = RunFolder(tmp_path)
    for step in (1, 2, 3):
        write_checkpoint(run, step, keep_last=9)
    run.point("latest", run.checkpoints / "step_00000001")
    write_checkpoint(run, 2, keep_last=1)
    assert _names(run) == ["step_00000002"]
    assert run.latest() == run.checkpoints / "step_00000002"


def test_what_killed_saves_have_left_is_removed(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    for left in (".step_00000001.incomplete", ".step_00000002.replaced"):
        (run.checkpoints / left).mkdir(parents=True)
        (run.checkpoints / left / "tensors").touch()
    write_checkpoint(run, 3)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["latest", "step_00000003"]


def test_files_that_are_missing_or_cut_are_damage_at_once(tmp_path: Path, write_checkpoint: Write) -> None:
    folder = write_checkpoint(RunFolder(tmp_path), 1)
    for name in ("recipe.yaml", "tensors.json", FILE):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1])
        with pytest.raises(Damaged, match=f"{name} has .* bytes, not"):
            Checkpoint.open(tmp_path)
        (folder / name).unlink()
        with pytest.raises(Damaged, match=f"{name} is missing"):
            Checkpoint.open(tmp_path)
        (folder / name).write_bytes(whole)
    Checkpoint.open(tmp_path)


def test_damage_is_named_and_the_others_are_offered(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1)
    victim = write_checkpoint(run, 2) / FILE
    checkpoint = Checkpoint.open(tmp_path)
    checkpoint.check_whole()
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + b"x")
    with pytest.raises(ValueError, match=rf"step_00000002: damaged: {FILE} has changed; there is also step_00000001"):
        checkpoint.check_whole()
    victim.write_bytes(b"of")
    (checkpoint.path / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=rf"{FILE} has 2 bytes, not {len(whole)}; recipe\.yaml is missing"):
        checkpoint.check_whole()


def test_every_flipped_bit_of_the_state_is_harmless_or_damage(tmp_path: Path, write_checkpoint: Write) -> None:
    state = write_checkpoint(RunFolder(tmp_path), 1) / "state.json"
    whole, sound = state.read_bytes(), Checkpoint.open(tmp_path).state
    for place in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        state.write_bytes(changed)
        try:
            assert Checkpoint.open(tmp_path).state == sound
        except Damaged as damage:
            assert str(damage).startswith(f"{state}: damaged: ")


def rewritten(state: Path, **values: object) -> None:
    """With a right checksum, as somebody might who means harm."""
    found = integrity.unsealed(state.read_bytes(), "state")
    integrity.write_sealed(state, {**found, **values})


@pytest.mark.parametrize(
    "values",
    [
        {"progress": None},
        {"progress": {"step": "1"}},
        {"files": {}},
        {"files": {"recipe.yaml": 3}},
        {"versions": []},
    ],
    ids=str,
)
def test_state_of_another_form_is_damage(tmp_path: Path, write_checkpoint: Write, values: dict) -> None:
    rewritten(write_checkpoint(RunFolder(tmp_path), 1) / "state.json", **values)
    with pytest.raises(Damaged, match=r"state\.json: damaged: it lacks what belongs there"):
        Checkpoint.open(tmp_path)


def test_files_outside_of_the_folder_are_damage(tmp_path: Path, write_checkpoint: Write) -> None:
    folder = write_checkpoint(RunFolder(tmp_path), 1)
    files = Checkpoint.open(folder).state["files"]
    for name in ("../step_00000001/recipe.yaml", str(folder / "recipe.yaml"), ".."):
        rewritten(folder / "state.json", files={**files, name: files["recipe.yaml"]})
        with pytest.raises(Damaged, match=r"is no file of this folder|is missing"):
            Checkpoint.open(folder)


def test_checkpoint_without_a_state_is_damage_and_a_folder_without_any_is_not(
    tmp_path: Path, write_checkpoint: Write
) -> None:
    (write_checkpoint(RunFolder(tmp_path), 1) / "state.json").unlink()
    with pytest.raises(Damaged, match=r"step_00000001/state\.json: damaged: missing"):
        Checkpoint.open(tmp_path)


def test_early_formats_which_are_pickles_are_refused(tmp_path: Path, write_checkpoint: Write) -> None:
    state = write_checkpoint(RunFolder(tmp_path), 1) / "state.json"
    state.write_text(json.dumps({"format": 2, "files": {}}))
    with pytest.raises(ValueError, match="format 2, of an early version: to read it would unpickle it") as refused:
        Checkpoint.open(tmp_path)
    assert not isinstance(refused.value, Damaged)
    for other in (3, 99):
        state.write_text(json.dumps(integrity.sealed({"format": other})))
        with pytest.raises(ValueError, match=f"format {other}; this version reads format 4") as refused:
            Checkpoint.open(tmp_path)
        assert not isinstance(refused.value, Damaged)


@pytest.mark.parametrize("pointer", ["latest", "best"])
def test_damaged_pointer_is_named_and_not_followed(
    tmp_path: Path, write_checkpoint: Write, pointer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    for step in (10, 11):
        write_checkpoint(run, step, is_best=step == 10)
    whole = (run.checkpoints / pointer).read_bytes()
    for damaged in (b"\xff", b"", whole.replace(b"step_0000001", b"step_0000000"), b"step_00000010"):
        (run.checkpoints / pointer).write_bytes(damaged)
        found = run.best() if pointer == "best" else run.latest()
        assert found == (None if pointer == "best" else run.checkpoints / "step_00000011")
        assert f"note: {run.checkpoints / pointer}: damaged: " in capsys.readouterr().err


def test_pointer_to_somewhere_else_is_not_followed(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path / "run")
    write_checkpoint(run, 1)
    write_checkpoint(RunFolder(tmp_path / "other"), 2)
    for name in ("../../other/checkpoints/step_00000002", str(tmp_path), "..", "step_00000099"):
        integrity.write_sealed(run.checkpoints / "latest", {"checkpoint": name})
        assert run.latest() == run.checkpoints / "step_00000001"


def test_stray_files_links_and_moved_folders_end_nothing(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    write_checkpoint(run, 1).rename(elsewhere)
    (run.checkpoints / "step_00000001").symlink_to(elsewhere)
    (run.checkpoints / "step_x").write_text("a note")
    (run.checkpoints / "step_00000009").write_text("no folder")
    (run.checkpoints / ".step_00000002.incomplete").write_text("no folder either")
    assert Checkpoint.open(run.path).state["progress"]["step"] == 1
    moved = RunFolder(run.path.rename(tmp_path / "moved"))
    write_checkpoint(moved, 2, keep_last=1)
    assert moved.newest_first() == [moved.checkpoints / "step_00000002"]
    assert (elsewhere / "state.json").exists()
    assert (moved.checkpoints / "step_x").read_text() == "a note"


def test_two_runs_in_one_folder_are_refused(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    refused = pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*; choose another name=")
    with run.locked(), refused, RunFolder(tmp_path).locked():
        pass
    with run.locked():
        pass


def test_folder_without_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        Checkpoint.open(tmp_path)


def test_checkpoint_of_another_size_names_the_difference(tmp_path: Path, write_checkpoint: Write) -> None:
    run = RunFolder(tmp_path)
    write_checkpoint(run, 1)
    checkpoint = Checkpoint.open(tmp_path)
    checkpoint.check_model(Recipe())
    with pytest.raises(ValueError, match=r"saved with model\.num_layers=24, but the recipe says 4"):
        checkpoint.check_model(Recipe(model=MODEL_SIZES["tiny"]))
