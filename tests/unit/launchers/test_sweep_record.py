"""The folder of a sweep and what is written into it before anything is trained."""

from pathlib import Path

import pytest

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.runs.integrity import Damaged
from launchers.sweep.record import NAME, Sweep, plan


def test_every_point_has_a_run_of_its_own_in_the_folder(tmp_path: Path) -> None:
    asked = ["optimizer.lr=1e-4,1e-3", f"output={tmp_path}/a,b", "train.seed=3"]
    planned = plan("tiny", Recipe(name="tiny"), asked)
    assert planned is not None
    sweep, points = planned
    assert sweep.folder == tmp_path / "a,b" / "tiny-sweep"
    assert sweep.points == {"lr=1e-4": {"optimizer.lr": "1e-4"}, "lr=1e-3": {"optimizer.lr": "1e-3"}}
    for point, rate in zip(points, (1e-4, 1e-3), strict=True):
        assert point.recipe == resolve(Recipe(), point.overrides)
        assert (point.recipe.output, point.recipe.name) == (str(sweep.folder), point.name)
        assert (point.recipe.optimizer.lr, point.recipe.train.seed) == (rate, 3)


def test_what_is_written_is_read_and_a_sweep_can_grow(tmp_path: Path) -> None:
    folder = [f"output={tmp_path}", "name=mine"]
    for rates in ("1e-4,1e-3", "1e-3,1e-2"):
        planned = plan("tiny", Recipe(), [f"optimizer.lr={rates}", *folder])
        assert planned is not None
        planned[0].write()
    found = Sweep.read(tmp_path / "mine")
    assert found is not None and list(found.points) == ["lr=1e-4", "lr=1e-3", "lr=0.01"]
    assert found.overrides == ("optimizer.lr=1e-3,1e-2", *folder)


def test_nothing_swept_is_no_sweep() -> None:
    assert plan("tiny", Recipe(), ["train.seed=1", "name=a,b"]) is None


def test_a_point_that_cannot_be_is_named_before_anything_is_written(tmp_path: Path) -> None:
    asked = ["objective=mlm,absorbing", "objective.mask_fraction=0.1", f"output={tmp_path}"]
    with pytest.raises(
        ValueError, match=r"^objective=absorbing, a point of the sweep: objective.mask_fraction: belongs"
    ):
        plan("tiny", Recipe(), asked)
    assert not list(tmp_path.iterdir())


def test_folder_of_a_run_and_a_damaged_sweep_are_not_written_over(tmp_path: Path) -> None:
    planned = plan("tiny", Recipe(), ["train.seed=1,2", f"output={tmp_path}", "name=mine"])
    assert planned is not None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").touch()
    with pytest.raises(ValueError, match="is the folder of a run, not of a sweep; choose another name="):
        planned[0].write()
    (tmp_path / "mine" / "recipe.yaml").unlink()
    (tmp_path / "mine" / NAME).write_text('{"points": {}}')
    with pytest.raises(Damaged, match=NAME):
        planned[0].write()
