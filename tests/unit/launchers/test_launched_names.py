"""A run that is launched has its whole name from the beginning: all of its tasks know its folder, at every start."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.config import Recipe
from launchers.__main__ import _window
from launchers.cluster import Cluster
from launchers.plan import Request, named, plan
from launchers.sweep.record import plan as plan_sweep
from launchers.tasks import Resources


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(job_dir=str(tmp_path))


@pytest.mark.parametrize(("gpus", "suffix"), [(1, ""), (0, "-smoke")])
def test_tasks_share_the_name_that_the_run_has_already(
    gpus: int, suffix: str, cluster: Cluster, write_proteins: Callable[..., Path]
) -> None:
    data = str(write_proteins([50] * 9))
    request = Request(
        recipe="absorbing_450m",
        overrides=[f"data.train={data}", f"data.validation={data}", "name=auto"],
        resources=Resources(gpus_per_node=gpus),
        evaluate=True,
    )
    first = named(request, cluster)
    name = first.resolved().name
    assert re.fullmatch(r"absorbing_450m-\d{8}-\d{4}-[0-9a-f]{6}", name)
    train, evaluate = plan(first, cluster)
    assert f"name={name}" in train.command
    assert any(word.endswith(f"/runs/{name}{suffix}") for word in evaluate.command)
    earlier = re.sub(r"\d{8}-\d{4}", "20200101-0000", name)
    (Path(str(cluster.job_dir)) / "runs" / f"{earlier}{suffix}").mkdir(parents=True)
    assert named(request, cluster).resolved().name == earlier


def test_sweep_under_a_template_has_one_folder_and_finds_it_again(tmp_path: Path) -> None:
    def folder() -> Path:
        planned = plan_sweep("mine", Recipe(name="mine"), ["optimizer.lr=1e-3,1e-4", "name=auto"], str(tmp_path))
        assert planned is not None
        return planned[0].folder

    assert re.fullmatch(r"mine-\d{8}-\d{4}-[0-9a-f]{6}", folder().name)
    earlier = folder().with_name(re.sub(r"\d{8}-\d{4}", "20200101-0000", folder().name))
    earlier.mkdir(parents=True)
    assert folder() == earlier


def test_steps_to_capture_are_two_numbers() -> None:
    assert _window("10:20") == (10, 20)
    for wrong in ("10", "20:10", "0:3", "a:b", "1:2:3"):
        with pytest.raises(ValueError, match=f"--nsys {wrong}: write the first and the last step, such as 10:12"):
            _window(wrong)
