"""What plugins do to the scripts of an experiment: to trainings alone, without a secret."""

import io
import shlex
from pathlib import Path
from typing import Any

import nemo_run as run
import pytest

from d2plm_megatron.commandline.train import _chosen
from launchers.cluster import Cluster
from launchers.experiment import submit
from launchers.plugins import Nsys, Preemption, PyTorchProfiler, Wandb
from launchers.tasks import Resources, evaluate, train

KEY = "5ecre7" * 7


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """scripts(plugins, executor="slurm") are those of a training and of what comes after it, as they are printed."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nemo_run runs mkdir by a library that reads it

    def printed(plugins: list[run.Plugin], launcher: str = "srun", **options: Any) -> str:
        cluster = Cluster(job_dir=str(tmp_path), **{"executor": "slurm", **options})
        resources = Resources(nodes=2, processes_per_node=2)
        tasks = [
            train("absorbing_tiny", ["profile.ranks=7"], resources),
            evaluate("r", "d", Resources(), after=["train"]),
        ]
        assert submit("x", tasks, cluster, plugins=plugins, dry_run=True, launcher=launcher) == 0
        return capsys.readouterr().out

    return printed


def command(text: str, launcher: str = "srun") -> list[str]:
    """The words of the training in the scripts, after `train`."""
    [line] = [line for line in text.splitlines() if "d2plm_megatron train" in line]
    words = shlex.split(line.partition(") & child")[0])
    return words[words.index("train") + 1 :]


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_profiler_sets_the_recipe_and_what_was_typed_decides(scripts: Any, launcher: str) -> None:
    words = command(scripts([PyTorchProfiler(start_step=10, end_step=20, ranks=[0, 8])], launcher), launcher)
    assert words[:3] == ["profile.start_step=10", "profile.num_steps=11", "profile.ranks=0 8"]
    recipe, changes = _chosen(words, None)
    assert recipe is not None and recipe.name == "absorbing_tiny"
    assert changes[-1] == "profile.ranks=7"


def test_nsys_runs_the_training_and_nothing_else(scripts: Any) -> None:
    text = scripts([Nsys(start_step=5, end_step=6)])
    assert "profile.tool=nsys" in command(text)
    lines = [line for line in text.splitlines() if "nsys profile" in line]
    assert len(lines) == 1 and "--capture-range=cudaProfilerApi" in lines[0] and "train.sh" in lines[0]
    assert "evaluate" in text and "nsys profile" not in scripts([])


def test_preemption_warns_as_long_before(scripts: Any) -> None:
    text = scripts([Preemption(preempt_time=300)])
    assert text.count("#SBATCH --signal=USR1@300") == 1 and text.count("#SBATCH --signal=USR1@120") == 1


def test_tracking_hands_on_the_key_by_its_name_alone(scripts: Any) -> None:
    text = scripts([Wandb(project="p q", tags=["a", "b"])])
    expected = ["track.wandb=true", "track.offline=false", "track.project=p q", "track.tags=a b"]
    assert command(text)[: len(expected)] == expected
    assert KEY not in text
    inside = scripts([Wandb()], containers={"default": "image"})
    assert "WANDB_API_KEY" in inside and KEY not in inside


def test_steps_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="steps 5 to 4: write the first and the last"):
        Nsys(start_step=5, end_step=4)
