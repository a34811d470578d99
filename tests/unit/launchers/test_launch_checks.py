"""What a launch refuses before anything is submitted, and what it plans; Slurm's answers are texts that Slurm gave."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launchers import checks, shell
from launchers.checks import check, partitions_of, seconds_of
from launchers.cluster import Cluster, SshTunnel
from launchers.plan import Request, plan
from launchers.tasks import Resources, Task, train

SINFO = """\
main*|up|1-00:00:00|6|gpu:h100:8(S:0-1)
main*|up|1-00:00:00|2|gpu:a100:4,license:1
cpu|up|infinite|40|(null)
old|down|2:00:00|1|(null)
"""

IN_BASH = shell.run
"""As it is, where a test puts something in its place."""


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("90:30", 5430), ("4:00:00", 14400), ("1-12", 129600), ("1-12:30", 131400), ("infinite", None)],
)
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int | None) -> None:
    assert seconds_of(time) == seconds


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose Slurm answers, and would run any job."""

    def run(cluster: Cluster, line: str) -> "subprocess.CompletedProcess[str]":
        answers = {"sinfo": SINFO, "sacctmgr": "lab\nother\n"}
        return subprocess.CompletedProcess([], 0, answers.get(line.split()[0], ""), "")

    monkeypatch.setattr(shell, "run", run)
    return Cluster(executor="slurm")


def test_partitions_are_read_with_their_gpus(slurm: Cluster) -> None:
    assert [(row.name, row.is_default, row.is_up, row.nodes, row.gpus) for row in partitions_of(slurm)] == [
        ("main", True, True, 6, 8),
        ("main", True, True, 2, 4),
        ("cpu", False, True, 40, 0),
        ("old", False, False, 1, 0),
    ]


def task(**needs: object) -> Task:
    return train("fm_450m", [], Resources(**needs))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"nodes": 9}, "--nodes 9: partition main has 8"),
        ({"nodes": 7, "gpus_per_node": 8}, "--gpus-per-node 8: partition main has 6 such nodes"),
        ({"partition": "cpu", "gpus_per_node": 1}, "has 0 such nodes; where whole nodes are given"),
        ({"partition": "old"}, "partition old: is down"),
        ({"partition": "cpus"}, "partition cpus: there is none; did you mean cpu?"),
        ({"time": "1-00:01"}, "--time 1-00:01: partition main allows 24 hours"),
        ({"time": "4h"}, "--time 4h: write minutes"),
        ({"account": "lob"}, "account lob: is none of yours; did you mean lab?"),
    ],
)
def test_what_slurm_would_never_run_is_told_in_one_line(needs: dict[str, object], said: str, slurm: Cluster) -> None:
    with pytest.raises(ValueError) as error:
        check(slurm, [task(**needs)])
    assert said in str(error.value)


def test_what_it_would_run_is_let_through(slurm: Cluster) -> None:
    check(slurm, [task(nodes=6, gpus_per_node=8, time="1-00:00:00", account="lab"), task(partition="cpu", nodes=40)])


def test_a_shell_whose_python_lacks_the_package_is_told(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers, finds = shell.run, "find_spec"
    (tmp_path / "python").write_text(f'#!/bin/bash\nexec {sys.executable} -I -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(shell, "run", lambda it, line: (IN_BASH if finds in line else answers)(it, line))
    with pytest.raises(ValueError, match="jobs would not find the package by `python`; write setup: source"):
        check(replace(slurm, job_dir=str(tmp_path)), [task()])
    check(replace(slurm, job_dir=str(tmp_path), setup="source elsewhere/activate"), [task()])
    check(replace(slurm, containers={"default": "image"}), [task()])


def test_a_machine_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="sbatch: there is none here; launch on the login node"):
        check(Cluster(executor="slurm"), [task()])


@pytest.mark.parametrize("program", ["ssh", "rsync"])
def test_a_laptop_without_ssh_is_told(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.shutil, "which", lambda name: None if name == program else f"/bin/{name}")
    with pytest.raises(ValueError, match=f"there is no {program} here"):
        check(Cluster(executor="slurm", ssh_tunnel=SshTunnel(host="a", user="b", job_dir="/c")), [task()])


def test_what_this_machine_lacks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="--nodes 2: executor local has one"):
        check(Cluster(), [task(nodes=2)])
    with pytest.raises(ValueError, match="there is no GPU here"):
        check(Cluster(), [task(gpus_per_node=1)])
    with pytest.raises(ValueError, match="required_env_vars: D2PLM_NOT_SET: is not set"):
        check(Cluster(required_env_vars=("D2PLM_NOT_SET",)), [task()])
    mounted = Cluster(executor="docker", containers={"default": "image"}, mounts=(f"{tmp_path}/none:/x",))
    with pytest.raises(ValueError, match=f"{tmp_path}/none: is not there"):
        check(mounted, [task()])


def test_what_no_executor_would_do_is_refused() -> None:
    cloud = Cluster(executor="skypilot", skypilot={"infra": "aws"})
    with pytest.raises(ValueError, match="--nodes 2: executor skypilot is launched on one"):
        check(cloud, [task(nodes=2)])
    image = Cluster(executor="docker", containers={"default": "image"}, env_vars=("A=b", "WANDB_API_KEY"))
    with pytest.raises(ValueError, match="WANDB_API_KEY: executor docker hands on no variable by its name alone"):
        check(image, [task()])


def words(request: Request, cluster: Cluster) -> dict[str, str]:
    return {task.name: " ".join(task.command[2:]) for task in plan(request, cluster)}


def test_a_chain_names_the_same_data_and_run_throughout() -> None:
    request = Request(
        recipe="esm2_15b",
        overrides=["name=big"],
        resources=Resources(nodes=4, gpus_per_node=4, processes_per_node=4),
        prepare="/raw/uniref50.fasta.gz",
        evaluate=True,
        generate=True,
    )
    tasks = plan(request, Cluster(executor="slurm", job_dir="/shared"))
    assert {task.name: task.after for task in tasks} == {
        "prepare": (),
        "train": ("prepare",),
        "evaluate": ("train",),
        "generate": ("evaluate",),
    }
    said = words(request, Cluster(executor="slurm", job_dir="/shared"))
    assert said["prepare"].endswith("prepare --input /raw/uniref50.fasta.gz --output /shared/data/uniref50")
    assert "data.train=/shared/data/uniref50/train" in said["train"]
    assert "output=/shared/runs name=big" in said["train"]
    assert "evaluate /shared/runs/big --data /shared/data/uniref50/validation --tensor=8" in said["evaluate"]
    needs = {task.name: (task.resources.nodes, task.resources.processes_per_node) for task in tasks}
    assert needs == {"prepare": (1, 1), "train": (4, 4), "evaluate": (2, 4), "generate": (2, 4)}


def test_the_same_launch_again_trains_on_what_it_has_prepared_and_on_no_other(tmp_path: Path) -> None:
    proteins, cluster = tmp_path / "raw.fasta", Cluster(job_dir=str(tmp_path))
    proteins.write_text(">a\nMKV\n")
    request = Request(recipe="absorbing_tiny", overrides=[], resources=Resources(), prepare=str(proteins))
    assert [task.name for task in plan(request, cluster)] == ["prepare", "train"]
    inputs = [{"path": str(proteins), "bytes": proteins.stat().st_size}]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/manifest.json").write_text(json.dumps({"inputs": inputs}))
    (train,) = plan(request, cluster)
    assert train.after == () and f"data.train={tmp_path}/data/raw/train" in train.command
    proteins.write_text(">a\nMKVL\n")
    with pytest.raises(ValueError, match="holds data of other proteins; remove it"):
        plan(request, cluster)
    (tmp_path / "data/raw/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        plan(request, cluster)


def test_paths_are_written_from_the_root_and_shares_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["data.train=a/train:0.7 /b/train:0.3", "data.validation=a/validation", "name=x"]
    said = words(Request(recipe="absorbing_tiny", overrides=overrides, resources=Resources()), Cluster())["train"]
    assert f"data.train={tmp_path}/a/train:7/10 /b/train:3/10 data.validation={tmp_path}/a/validation" in said
    assert f"output={tmp_path}/runs name=x" in said


def test_over_ssh_a_path_of_this_machine_is_refused_and_a_recipe_travels(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text((Path(__file__).parents[3] / "recipes/absorbing_tiny.py").read_text())
    cluster = Cluster(executor="slurm", ssh_tunnel=SshTunnel(host="login", user="me", job_dir="/far"))
    request = Request(recipe=str(tmp_path / "mine.py"), overrides=["data.train=/d"], resources=Resources())
    [train] = plan(request, cluster)
    assert train.command[3:5] == ("train", "mine.py") and train.ships == str(tmp_path / "mine.py")
    with pytest.raises(ValueError, match="write the path from / on, as login sees it"):
        plan(Request(recipe="absorbing_tiny", overrides=["data.train=d"], resources=Resources()), cluster)
