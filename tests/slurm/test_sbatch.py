"""Plain sbatch: launchers/slurm.sbatch trains on two nodes, and what interrupts a run leaves no trace in its weights.

A time limit of Slurm is a minute at least: the other tests go on beside the run that waits for its own.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from benchmarks.random_proteins import short_lengths, write_proteins
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs.folder import RunFolder
from tests.slurm.jobs import Slurm, wait_until
from verification.tiny_runs import TINY, whole_tensors, without_clocks

SCRIPT = Path(__file__).parents[2] / "launchers/slurm.sbatch"
ENDLESS = 10**9


@dataclass(frozen=True)
class Training:
    """A run as a job of two nodes, whose recipe is a file.

    Attributes:
        slurm: where.
        folder: of the run.
        proteins: prefix of the data.
        job: its number; "" before it was submitted.
    """

    slurm: Slurm
    folder: Path
    proteins: Path
    job: str = field(default="", compare=False)

    @property
    def log(self) -> str:
        """What all attempts have printed."""
        return self.folder.with_suffix(".log").read_text(encoding="utf-8")

    def last_step_is(self, steps: int) -> None:
        """Writes the recipe, for as many steps."""
        recipe = replace(TINY, train=replace(TINY.train, max_steps=steps, save_every_steps=10**9))
        self.folder.with_suffix(".yaml").write_text(to_yaml(recipe), encoding="utf-8")

    def submit(self, *options: str, overrides: tuple[str, ...] = ()) -> "Training":
        """Hands it to sbatch; the same with the job's number."""
        options = ("--nodes=2", "--ntasks-per-node=1", f"--output={self.folder}.log", *options)
        keys = (f"data.train={self.proteins}", f"output={self.folder.parent}", f"name={self.folder.name}", *overrides)
        job = self.slurm.sbatch(*options, str(SCRIPT), f"--from={self.folder}.yaml", *keys)
        return Training(self.slurm, self.folder, self.proteins, job)

    def lines(self) -> int:
        """Number of lines in the metrics: of each step, as the recipe logs every one."""
        return len(without_clocks(RunFolder(self.folder))) if RunFolder(self.folder).metrics.exists() else 0

    def trains(self) -> None:
        """Waits until it has made a step from here on."""
        before = self.lines()
        wait_until(lambda: self.lines() > before + 1, f"a step of {self.folder.name}: {self.slurm.states(self.job)}")


@pytest.fixture(scope="module")
def new(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Training]:
    """A training by name with so many steps, not yet submitted."""
    folder = tmp_path_factory.mktemp("sbatch")
    proteins = write_proteins(folder / "proteins", short_lengths(200))

    def make(name: str, steps: int) -> Training:
        training = Training(slurm, folder / name, proteins)
        training.last_step_is(steps)
        return training

    return make


@pytest.fixture(scope="module")
def preempted(new: Callable[[str, int], Training]) -> Training:
    """Trains without end; an urgent job has taken its nodes once, and its time will soon be up."""
    training = new("interrupted", ENDLESS).submit("--signal=USR1@60")
    training.trains()
    urgent = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "true")
    training.slurm.sbatch(*urgent)
    training.slurm.starts_again(training.job)
    training.trains()
    ran = training.slurm.run("squeue", "--noheader", "--format=%M", f"--jobs={training.job}")
    training.slurm.update(training.job, TimeLimit=int(ran.split(":")[0]) + 2)
    return training


def test_a_preempted_run_has_saved_and_is_in_the_queue_again(preempted: Training) -> None:
    assert "saved and stopped on SIGTERM at step" in preempted.log
    assert RunFolder(preempted.folder).latest() is not None


def test_a_cancelled_run_has_saved_and_stays_cancelled(
    preempted: Training, new: Callable[[str, int], Training]
) -> None:
    training = new("cancelled", ENDLESS).submit("--nodes=1")
    training.trains()
    training.slurm.run("scancel", training.job)
    assert training.slurm.ended(training.job) == ["CANCELLED"]
    assert "saved and stopped on SIGTERM at step" in training.log
    assert RunFolder(training.folder).latest() is not None


def test_what_a_user_can_mend_fails_with_one_line_of_each_process_and_is_not_requeued(
    preempted: Training, new: Callable[[str, int], Training]
) -> None:
    training = new("wrong", 1).submit(overrides=("optimizer.lrr=1",))
    assert training.slurm.ended(training.job) == ["FAILED"]
    assert training.slurm.field(training.job, "ExitCode") == "2:0"
    said = [line for line in training.log.splitlines() if not line.startswith("srun: ")]
    assert said == ["error: optimizer.lrr: no such key; did you mean optimizer.lr?"] * 2


def test_interrupted_twice_it_is_what_nobody_touched(preempted: Training, new: Callable[[str, int], Training]) -> None:
    slurm = preempted.slurm
    wait_until(lambda: "saved and stopped on SIGUSR1 at step" in preempted.log, "the time limit")
    steps = preempted.lines() + 5
    preempted.last_step_is(steps)
    slurm.starts_again(preempted.job, TimeLimit="UNLIMITED")
    untouched = new("untouched", steps).submit()
    assert slurm.ended(untouched.job) == ["COMPLETED"], untouched.log
    assert slurm.ended(preempted.job) == ["REQUEUED", "REQUEUED", "COMPLETED"], preempted.log
    for training in (untouched, preempted):
        assert slurm.run("sacct", "-X", "-n", "-P", "-o", "NodeList", "-j", training.job) == "n[1-2]"
    assert without_clocks(RunFolder(preempted.folder)) == without_clocks(RunFolder(untouched.folder))
    ours, theirs = (whole_tensors(RunFolder(run.folder).latest() or run.folder) for run in (preempted, untouched))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_requeued_run_whose_folder_is_gone_does_not_begin_anew(new: Callable[[str, int], Training]) -> None:
    training = new("gone", ENDLESS).submit("--nodes=1")
    training.trains()
    training.slurm.run("scancel", "--signal=USR1", training.job)
    assert training.slurm.wait(training.job, "PENDING") == "PENDING"
    shutil.rmtree(training.folder)
    training.slurm.starts_again(training.job)
    assert training.slurm.ended(training.job) == ["REQUEUED", "FAILED"]
    assert (
        f"{training.folder}: Slurm starts job {training.job} again, but the folder of its run is gone" in training.log
    )
    assert not training.folder.exists()
