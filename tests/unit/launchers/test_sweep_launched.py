"""What a sweep comes to: which tasks, in which lanes, and what was done before is left out."""

from dataclasses import replace
from pathlib import Path

import pytest

from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs import metrics
from launchers.cluster import Cluster
from launchers.plan import Request
from launchers.sweep.launched import launched
from launchers.tasks import Resources, Task

LOCAL, SLURM = Cluster(executor="local"), Cluster(executor="slurm", job_dir="/shared")


@pytest.fixture
def request_of_four(write_proteins, tmp_path: Path) -> Request:
    data = [f"data.{name}={write_proteins([30] * 9)}" for name in ("train", "validation")]
    swept = ["optimizer.lr=1e-3,4e-3", "model.num_layers=2,4", "train.max_steps=4"]
    overrides = [*swept, *data, f"output={tmp_path}", "name=mine"]
    return Request(recipe="absorbing_tiny", overrides=overrides, resources=Resources())


def test_every_point_has_its_tasks_and_prepare_is_done_once(request_of_four: Request, tmp_path: Path) -> None:
    (tmp_path / "raw.fasta").touch()
    asked = replace(request_of_four, evaluate=True, prepare=str(tmp_path / "raw.fasta"))
    sweep = launched(asked, LOCAL, at_once=2)
    assert sweep is not None
    assert [task.kind for task in sweep.tasks] == ["prepare", *["train", "evaluate"] * 4]
    prepare, train, evaluate, *_ = sweep.tasks
    assert (prepare.name, prepare.after) == ("prepare", ())
    assert (train.name, train.after) == ("train-lr=1e-3_num_layers=2", ("prepare",))
    assert (evaluate.name, evaluate.after) == ("evaluate-lr=1e-3_num_layers=2", (train.name,))
    assert evaluate.command[4] == str(tmp_path / "mine" / "lr=1e-3_num_layers=2")
    assert {"optimizer.lr=1e-3", f"output={tmp_path}/mine", "name=lr=1e-3_num_layers=2"} <= set(train.command)
    with pytest.raises(ValueError, match=r"--at-once: .*; prepare first, by itself"):
        launched(asked, SLURM, at_once=2)


def test_what_differs_in_size_is_tried_and_what_is_finished_is_left_out(request_of_four: Request) -> None:
    sweep = launched(request_of_four, LOCAL, at_once=None)
    assert sweep is not None
    assert [request.resolved().model.num_layers for request in sweep.requests] == [2, 4]
    done = sweep.requests[0].resolved()
    folder = Path(done.output, done.name)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(to_yaml(done))
    counts = dict.fromkeys(("perplexity", "lr", "gradient_norm", "tokens", "proteins"), 1)
    metrics.append(folder / "metrics.jsonl", {"kind": "train", "step": 4, "time": "now", **counts})
    again = launched(replace(request_of_four, evaluate=True), LOCAL, at_once=None)
    assert again is not None
    assert [(task.name, task.after) for task in again.tasks[:2]] == [
        (f"evaluate-{done.name}", ()),
        ("train-lr=1e-3_num_layers=4", ()),
    ]
    assert [(task.kind) for task in again.tasks].count("train") == 3


def test_more_than_this_machine_takes_is_refused(request_of_four: Request) -> None:
    many = replace(request_of_four, overrides=[*request_of_four.overrides, "train.seed=range(26)"])
    with pytest.raises(ValueError, match="mine: 104 tasks; nemo_run has at most 100 at hand"):
        launched(many, LOCAL, at_once=None)
    assert launched(many, SLURM, at_once=None) is not None


def test_nothing_swept_is_no_sweep(request_of_four: Request) -> None:
    assert launched(replace(request_of_four, overrides=["data.train=x"]), LOCAL, at_once=None) is None


def test_lanes_on_slurm_wait_for_an_end_and_what_depends_for_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path))
    run = pytest.importorskip("nemo_run")
    from launchers import experiment

    free = [
        Task(name=f"train-{number}", command=("python", "-m", "d2plm_megatron", "train"), resources=Resources())
        for number in range(5)
    ]
    after = replace(free[0], name="evaluate-0", after=("train-0",))
    with run.Experiment("lanes", clean_mode=True, enable_goodbye_message=False, base_dir=str(tmp_path)) as opened:
        experiment._add(opened, [*free, after], replace(SLURM, job_dir=str(tmp_path)), "srun", 2, [])
        found = {job.id: (job.dependencies, job.executor.dependency_type) for job in opened.jobs}
    assert found == {
        "train-0": ([], "afterok"),
        "train-1": ([], "afterok"),
        "train-2": (["train-0"], "afterany"),
        "train-3": (["train-1"], "afterany"),
        "train-4": (["train-2"], "afterany"),
        "evaluate-0": (["train-0"], "afterok"),
    }
