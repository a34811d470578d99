"""The loop as a whole: when it evaluates, saves and stops."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.config import Data, Model, Optimizer, Recipe, Train, Validation
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics
from d2plm_megatron.training.engine import Update
from d2plm_megatron.training.trainer import Trainer

FOURTH_GPU = torch.device("cuda", 3)
NOT_FINITE = torch.tensor([torch.nan, 1.0])
"""Sum and count of a loss."""


@pytest.fixture
def recipe(write_proteins: Callable[..., Path], tmp_path: Path) -> Recipe:
    data = str(write_proteins([40] * 30))
    return Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=data, validation=data, max_length_residues=40, tokens_per_pack=64),
        optimizer=Optimizer(lr=1e-3, warmup_steps=1),
        train=Train(max_steps=12, precision="fp32", global_batch_tokens=128, log_every_steps=1, save_every_steps=5),
        validation=Validation(every_steps=2, max_proteins=4),
    )


def evaluations(folder: RunFolder) -> list[int]:
    return [line["step"] for line in read_metrics(folder.metrics) if line["kind"] == "validation"]


def test_stops_early_when_the_loss_no_longer_falls(
    recipe: Recipe, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    """No fall is as large as this threshold: the first evaluation stays the best, and two more are waited for."""
    recipe = replace(recipe, validation=replace(recipe.validation, patience=2, min_delta=100.0))
    Trainer.of(recipe, one_process).fit()
    folder = RunFolder(Path(recipe.output) / recipe.name)
    assert evaluations(folder) == [2, 4, 6]
    assert [path.name for path in folder.newest_first()[:1]] == ["step_00000006"]
    assert folder.best() == folder.checkpoints / "step_00000002"
    assert "stopped early: 2 validations without a loss below" in capsys.readouterr().out


def test_saves_and_continues_when_every_step_so_far_was_skipped(
    recipe: Recipe, one_process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, data=replace(recipe.data, validation=None), train=replace(recipe.train, max_steps=2))
    trainer = Trainer.of(recipe, one_process)
    update = trainer.engine.update
    monkeypatch.setattr(trainer.engine, "update", lambda loss, flags: update(NOT_FINITE, flags))
    trainer.fit()
    weights = [weight.clone() for weight in trainer.engine.masters.weights]
    again = Trainer.of(replace(recipe, train=replace(recipe.train, max_steps=4)), one_process)
    assert (again.progress.step, again.progress.num_updates) == (2, 0)
    assert all(map(torch.equal, weights, again.engine.masters.weights))
    again.fit()
    assert (again.progress.step, again.progress.num_updates) == (4, 2)


def test_checkpoints_are_written_by_a_thread_on_the_process_s_own_gpu(
    recipe: Recipe, one_process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new thread is on the first GPU of the machine, where it would take memory from another process."""
    used = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: used.append((threading.current_thread().name, device)))
    trainer = Trainer.of(replace(recipe, train=replace(recipe.train, max_steps=1)), one_process)
    trainer.engine.processes = replace(one_process, device=FOURTH_GPU)
    monkeypatch.setattr(trainer.engine, "update", lambda loss, flags: Update(False, 0.0, True, (False,) * len(flags)))
    trainer.fit()
    assert used == [("saver", FOURTH_GPU)]


@pytest.mark.parametrize("background", [True, False])
def test_evaluates_and_saves_when_due_and_at_the_end(recipe: Recipe, one_process: Processes, background: bool) -> None:
    train = replace(recipe.train, async_save=background, keep_last=20)
    Trainer.of(replace(recipe, train=train, validation=replace(recipe.validation, every_steps=12)), one_process).fit()
    folder = RunFolder(Path(recipe.output) / recipe.name)
    assert evaluations(folder) == [12]
    assert [path.name[-2:] for path in folder.newest_first()] == ["12", "10", "05"]


def write_letters(prefix: Path, sequences: list[str]) -> str:
    with IndexedWriter(prefix) as writer:
        for sequence in sequences:
            writer.add(alphabet.encode(sequence))
    return str(prefix)


def test_steps_without_a_residue_to_score_change_nothing(
    recipe: Recipe, one_process: Processes, tmp_path: Path
) -> None:
    """A third of the batches are of X alone: they are skipped, and the run learns from the others."""
    data = write_letters(tmp_path / "some", ["X" * 60, "X" * 60, *["MKTAYIAKQR" * 6] * 4])
    options = replace(recipe.data, train=data, validation=None, max_length_residues=60)
    recipe = replace(recipe, data=options, train=replace(recipe.train, global_batch_tokens=64))
    trainer = Trainer.of(recipe, one_process)
    trainer.fit()
    progress = trainer.progress
    assert 0 < progress.num_updates < progress.step == 12
    lines = list(read_metrics(RunFolder(Path(recipe.output) / recipe.name).metrics))
    skipped = [math.isnan(line["loss"]) for line in lines]
    assert sum(skipped) == progress.step - progress.num_updates == lines[-1]["skipped_steps"]
    assert all(weight.isfinite().all() for weight in trainer.engine.masters.weights)


def test_a_run_without_any_residue_to_score_says_so(recipe: Recipe, one_process: Processes, tmp_path: Path) -> None:
    data = write_letters(tmp_path / "none", ["X" * 40] * 9)
    trainer = Trainer.of(replace(recipe, data=replace(recipe.data, train=data, validation=None)), one_process)
    weights = [weight.clone() for weight in trainer.engine.masters.weights]
    with pytest.raises(ValueError, match=rf"up to step 10, were skipped, .* does {data} hold nothing but X\?$"):
        trainer.fit()
    assert all(map(torch.equal, weights, trainer.engine.masters.weights))
