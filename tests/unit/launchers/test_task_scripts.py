"""The scripts of tasks: run by bash, and those of Slurm as nemo_run writes them."""

import io
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launchers import scripts
from launchers.cluster import Cluster
from launchers.experiment import submit
from launchers.tasks import Resources, Task, evaluate, train

AWKWARD = ("a b", "it's", "$HOME", "`x`", 'say "x"', "*", "ä=1;exit")


def words_of(*words: str, after: tuple[str, ...] = ()) -> Task:
    return Task(name="task", command=("python", "-c", *words), resources=Resources(), after=after)


def bash(script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, **environment}
    return subprocess.run(
        ["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_words_arrive_as_they_were_written(tmp_path: Path) -> None:
    task = words_of("import sys; print(sys.argv[1:])", *AWKWARD)
    folder = tmp_path / "a folder's"
    folder.mkdir()
    done = bash(scripts.of_process(task, Cluster(), "srun", folder))
    assert done.stdout == f"{list(AWKWARD)}\n", done.stderr


def test_variables_are_set_and_those_named_alone_are_handed_on_without_being_written() -> None:
    cluster = Cluster(env_vars=("A=b c", "MY_TOKEN"))
    script = scripts.of_process(
        words_of("import os; print(os.environ['A'], os.environ['MY_TOKEN'])"), cluster, "srun", None
    )
    assert bash(script, MY_TOKEN="secret").stdout == "b c secret\n"
    assert "MY_TOKEN'" not in script.partition("import")[0] and "export MY_TOKEN" not in script


def test_logs_are_plain_text_though_srun_gives_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    script = scripts.of_process(
        words_of("from rich.console import Console; Console().print('[bold red]x')"), Cluster(), "srun", None
    )
    ours, tasks = pty.openpty()
    assert bash(f"exec > {os.ttyname(tasks)}; {script}").returncode == 0
    assert os.read(ours, 100) == b"x\r\n"


def here(folder: Path, name: str, task: Task, cluster: Cluster = Cluster()) -> int:  # noqa: B008  (frozen)
    """Runs a task as on this machine, in an experiment's folder."""
    script = folder / name / "scripts" / f"{name}.sh"
    script.parent.mkdir(parents=True)
    script.write_text(scripts.on_this_machine(task, cluster, folder))
    return subprocess.run(["bash", str(script)], timeout=60, capture_output=True, check=False).returncode


def test_what_comes_after_a_task_that_failed_does_not_begin(tmp_path: Path) -> None:
    assert here(tmp_path, "train", words_of("raise SystemExit(3)")) == 3
    assert here(tmp_path, "evaluate", words_of("open('began', 'w')", after=("train",))) == 1
    assert not (tmp_path / "began").exists()
    assert here(tmp_path, "good", words_of("pass")) == 0
    assert here(tmp_path, "next", words_of("open('began', 'w')", after=("good",))) == 0
    assert (tmp_path / "began").exists()


SAVES = (
    "import os, signal, sys, time\n"
    "stop = []\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): signal.signal(number, lambda *a: stop.append(1))\n"
    "open(os.environ['READY'] + os.environ.get('RANK', ''), 'w').close()\n"
    "while not stop: time.sleep(0.01)\n"
    "time.sleep(0.3)\n"
    "open(os.environ['READY'] + '.saved' + os.environ.get('RANK', ''), 'w').close()\n"
    "raise SystemExit(75)\n"
)


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGUSR1, True), (signal.SIGTERM, False)],
    ids=["all processes get USR1", "its shell alone gets TERM"],
)
def test_torchrun_that_is_interrupted_lets_its_processes_save_and_ends_with_their_code(
    number: signal.Signals, whole_group: bool, tmp_path: Path
) -> None:
    program = tmp_path / "saves.py"
    program.write_text(SAVES)
    task = Task(name="t", command=("python", str(program)), resources=Resources(processes_per_node=2))
    ready = tmp_path / "ready"
    environment = {**os.environ, "READY": str(ready), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = scripts.of_process(task, Cluster(), "torchrun", None)
    process = subprocess.Popen(
        ["bash", "-c", script], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 100
    while not all(Path(f"{ready}{rank}").exists() for rank in range(2)):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    for _ in range(2):
        (os.killpg if whole_group else os.kill)(process.pid, number)
        time.sleep(0.1)
    assert process.wait(timeout=100) == 75
    assert all(Path(f"{ready}.saved{rank}").exists() for rank in range(2))


def test_torchrun_that_fails_is_not_taken_for_interrupted(tmp_path: Path) -> None:
    (program := tmp_path / "fails.py").write_text("raise SystemExit(5)")
    task = Task(name="t", command=("python", str(program)), resources=Resources(processes_per_node=2))
    assert bash(scripts.of_process(task, Cluster(), "torchrun", None)).returncode == 1


SCONTROL = "scontrol() { echo requeued; }\n"


@pytest.mark.parametrize(
    ("codes", "requeued"),
    [([0], 0), ([2], 0), ([1], 1), ([1, 1], 2), ([1, 1, 1], 2), ([75] * 5, 5), ([1, 75, 75, 1, 75, 1], 5)],
)
def test_what_was_saved_is_queued_again_always_and_what_crashed_as_often_as_the_cluster_says(
    codes: list[int], requeued: int, tmp_path: Path
) -> None:
    lines = scripts.of_batch(Cluster(retries=2), "srun", str(tmp_path))
    said = "".join(bash(f"{SCONTROL}{lines}\nexitcode={code}\nexit {code}", SLURM_JOB_ID="7").stdout for code in codes)
    assert said.count("requeued") == requeued


def test_a_job_that_is_ended_from_outside_is_not_queued_again(tmp_path: Path) -> None:
    lines = scripts.of_batch(Cluster(retries=2), "srun", str(tmp_path))
    assert bash(f"{SCONTROL}{lines}\nkill -TERM $$; sleep 5", SLURM_JOB_ID="7").stdout == ""


@pytest.fixture
def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The scripts that a dry run of two tasks prints, by their file, as nemo_run writes them."""
    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # which nemo_run's shell reads
    cluster = Cluster(
        executor="slurm",
        account="lab",
        partition="gpu",
        timeouts={"gpu": "4:00:00"},
        setup="module load x",
        sbatch={"qos": "high"},
        srun_args=("--mpi=pmix",),
        job_dir=str(tmp_path / "shared"),
    )
    on = Resources(nodes=2, gpus_per_node=8, processes_per_node=8)
    tasks = [
        train("fm_450m", ["data.train=/x y/train"], on),
        evaluate("/runs/x", "/d", Resources(gpus_per_node=1), after=["train"]),
    ]
    assert submit("x", tasks, cluster, dry_run=True) == 0
    parts = re.split(r"^# (\S+\.sh)\n", capsys.readouterr().out, flags=re.MULTILINE)
    assert not list((tmp_path / "shared/experiments/x").glob("*")), "a dry run leaves nothing"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_batch_script_that_nemo_run_writes_asks_for_what_the_task_needs(
    printed: dict[str, str], tmp_path: Path
) -> None:
    batch = printed["train_sbatch.sh"]
    wanted = ["account=lab", "partition=gpu", "nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "time=4:00:00"]
    wanted += ["signal=USR1@120", "kill-on-invalid-dep=yes", "qos=high", "open-mode=append", "job-name=d2plm.train"]
    assert [text for text in wanted if f"#SBATCH --{text}\n" not in batch] == []
    srun = shlex.split(next(line for line in batch.splitlines() if line.startswith("srun --output")))
    last = {word.partition("=")[0]: word for word in srun}
    assert last["--kill-on-bad-exit"] == "--kill-on-bad-exit=0" and last["--wait"] == "--wait=300"
    assert "--mpi=pmix" in srun
    script = Path(srun[-1])
    assert srun[-2] == "bash" and script.is_absolute() and script.name == "train.sh"
    assert str(script).startswith(str(tmp_path / "shared/experiments/x"))
    assert batch.index("module load x") < batch.index("srun --output")
    for text in printed.values():
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_each_process_becomes_the_command_so_that_signals_reach_it(printed: dict[str, str]) -> None:
    assert "exec python -m d2plm_megatron train fm_450m 'data.train=/x y/train'\n" in printed["train/scripts/train.sh"]


def test_a_path_that_nemo_run_would_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path))
    task = train("fm_450m", ["data.train=/a/nemo_run/b"], Resources())
    with pytest.raises(ValueError, match="nemo_run puts a folder of its own"):
        submit("x", [task], Cluster(executor="slurm"), dry_run=True)
