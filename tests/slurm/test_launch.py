"""d2plm launch on a real Slurm: chains, failures, both launchers, cancelling, and what a cluster does not have.

All commands run in a folder of the user's own, with a cluster's file that names an account and a folder.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.random_proteins import short_lengths, write_proteins
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs.folder import RunFolder
from tests.slurm.jobs import Slurm, wait_until
from verification.tiny_runs import TINY

ENDLESS = 10**9
CLUSTER = """\
executor: slurm
account: d2plm
partition: main
job_dir: {folder}/shared
processes_per_node: 1
"""
RECIPE = """\
import os
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml


def recipe() -> Recipe:
    {first}
    return from_yaml(Path(__file__).with_suffix(".yaml"))
"""
FAILS_ON_NODES = 'assert "SLURM_JOB_ID" not in os.environ, "no good on nodes"'

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a user, with a cluster's file, recipes, indexed proteins, and the same as FASTA."""
    folder = tmp_path_factory.mktemp("launch")
    (folder / "cluster.yaml").write_text(CLUSTER.format(folder=folder))
    for name, steps, first in (("short", 4, "pass"), ("long", ENDLESS, "pass"), ("bad", 4, FAILS_ON_NODES)):
        recipe = replace(TINY, name=name, train=replace(TINY.train, max_steps=steps, save_every_steps=ENDLESS))
        (folder / f"{name}.yaml").write_text(to_yaml(recipe))
        (folder / f"{name}.py").write_text(RECIPE.format(first=first))
    write_proteins(folder / "proteins", short_lengths(200))
    return folder


@pytest.fixture(scope="module")
def launch(slurm: Slurm, folder: Path) -> Launch:
    """Runs d2plm launch there."""

    def run(*words: str, timeout: float = 400) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "d2plm_megatron", "launch", *words, "--cluster=cluster.yaml"]
        return subprocess.run(
            command, cwd=folder, env=slurm.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


def jobs_of(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """The number of each task's job, as the launcher has printed them."""
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("submitted "))
    return dict(re.findall(r"(\S+) \((\d+)\)", line))


def test_proteins_are_prepared_trained_on_evaluated_and_sampled(launch: Launch, folder: Path) -> None:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    proteins = [(letters * 5)[n % 20 : n % 20 + 30 + n % 40][:: 1 if n % 2 else -1] for n in range(60)]
    (folder / "raw.fasta").write_text("".join(f">{n}\n{protein}\n" for n, protein in enumerate(proteins)))
    done = launch("short.py", "--nodes=2", "--prepare=raw.fasta", "--evaluate", "--generate", "--wait", "name=chain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes" in done.stdout
    run = RunFolder(folder / "shared/runs/chain")
    assert run.latest() and run.evaluation.exists() and run.samples.exists()


def test_what_depends_on_a_failed_training_is_cancelled_and_its_log_is_shown(launch: Launch, folder: Path) -> None:
    done = launch("bad.py", "--generate", "--wait", f"data.train={folder}/proteins")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "train: failed; the end of its log:" in done.stdout
    assert "generate: cancelled" in done.stdout
    assert "no good on nodes" in done.stdout.partition("the end of its log:")[2]


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_an_interrupted_task_goes_on_and_a_cancelled_one_does_not(
    launcher: str, launch: Launch, folder: Path, slurm: Slurm
) -> None:
    name = f"by_{launcher}"
    words = (f"--launcher={launcher}", "--nodes=2", f"name={name}", f"data.train={folder}/proteins")
    done = launch("long.py", *words)
    job, metrics = jobs_of(done)["train"], folder / f"shared/runs/{name}/metrics.jsonl"
    wait_until(metrics.exists, "the first step")
    slurm.run("scancel", "--signal=USR1", job)
    slurm.starts_again(job)
    saved = RunFolder(metrics.parent).latest()
    assert saved is not None
    before = len(metrics.read_text().splitlines())
    wait_until(lambda: len(metrics.read_text().splitlines()) > before + 1, "a step after it")
    experiment = next(word for word in done.stdout.split() if re.fullmatch(r"[\w-]+_\d{10}", word))
    environment = {**slurm.environment, "NEMORUN_HOME": str(folder / "shared")}
    cancel = [str(Path(sys.executable).parent / "nemo"), "experiment", "cancel", experiment, "0"]
    subprocess.run(cancel, env=environment, check=True, capture_output=True, timeout=120)
    assert slurm.ended(job) == ["REQUEUED", "CANCELLED"]
    newest = RunFolder(metrics.parent).latest()
    assert newest is not None and newest.name > saved.name


def test_of_a_sweep_two_points_train_at_a_time_and_all_are_shown(launch: Launch, folder: Path, slurm: Slurm) -> None:
    swept = ("optimizer.lr=1e-3,2e-3", "train.seed=1,2", "name=swept", f"data.train={folder}/proteins")
    done = launch("short.py", *swept, "--at-once=2", "--wait")
    jobs = list(jobs_of(done).values())
    times = [slurm.run("sacct", "-XnP", "--format=Start,End", f"--jobs={job}").split("|") for job in jobs]
    assert len(times) == 4
    assert all(sum(start < end and begin < stop for begin, end in times) <= 2 for start, stop in times)
    table = done.stdout[done.stdout.rindex("swept") :]
    assert all(table.count(text) >= 2 for text in ("0.001", "0.002")), done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account=nobody",), "nobody"),
        (("--partition=none",), "none"),
        (("--partition=closed",), "closed"),
        (("--nodes=3",), "3"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_in_one_line(
    words: tuple[str, ...], said: str, launch: Launch, folder: Path, slurm: Slurm
) -> None:
    done = launch("short.py", *words, f"data.train={folder}/proteins")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ") and said in line
    assert slurm.run("squeue", "--noheader", "--name=d2plm.train") == ""
