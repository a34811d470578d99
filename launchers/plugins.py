"""Plugins of nemo_run, by the names that NeMo has for them: `submit(..., plugins=[Nsys()])`, or nemo_run's own `add`.

Each changes the training among the tasks and leaves the others alone. What they set of a recipe comes before what was
typed, which decides. None of them writes a secret: a key of Weights & Biases stays in the environment, or in ~/.netrc.
"""

import shlex
from dataclasses import dataclass, field
from typing import Any

import nemo_run as run

_TRAINING = "-m d2plm_megatron train "
_KEY = "WANDB_API_KEY"


class _OfTraining(run.Plugin):
    """What acts on trainings alone."""

    def setup(self, task: run.Partial | run.Script, executor: run.Executor) -> None:
        """Called by nemo_run for each task."""
        if isinstance(task, run.Script) and _TRAINING in task.inline:
            words = shlex.join(f"{key}={value}" for key, value in self.overrides().items() if value is not None)
            task.inline = task.inline.replace(_TRAINING, f"{_TRAINING}{words} " if words else _TRAINING)
            self.change(executor)

    def overrides(self) -> dict[str, Any]:
        """Of the recipe, by key."""
        return {}

    def change(self, executor: Any) -> None:
        """What else the executor needs."""


@dataclass(kw_only=True)
class Preemption(_OfTraining):
    """Asks Slurm to warn a training some time before it takes the node away, so that it saves.

    Attributes:
        preempt_time: seconds before.
    """

    preempt_time: int = 120

    def change(self, executor: Any) -> None:
        """Other executors take no node away."""
        if isinstance(executor, run.SlurmExecutor):
            executor.signal = f"USR1@{self.preempt_time}"


@dataclass(kw_only=True)
class _OfSteps(_OfTraining):
    """What profiles the steps from one to another, both included.

    Attributes:
        start_step, end_step: as counted in the log.
        ranks: that are profiled.
    """

    start_step: int = 10
    end_step: int = 12
    ranks: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        if not 1 <= self.start_step <= self.end_step:
            raise ValueError(f"steps {self.start_step} to {self.end_step}: write the first and the last, from 1 on")

    def overrides(self) -> dict[str, Any]:
        """Of the recipe, by key."""
        return {
            "profile.start_step": self.start_step,
            "profile.num_steps": self.end_step - self.start_step + 1,
            "profile.ranks": " ".join(map(str, self.ranks)),
        }


@dataclass(kw_only=True)
class PyTorchProfiler(_OfSteps):
    """Writes a trace of some steps by torch's profiler into the run's folder."""


@dataclass(kw_only=True)
class Nsys(_OfSteps):
    """Runs the training under `nsys profile`, which captures some steps and writes into the task's folder.

    Attributes:
        nsys_trace: what is traced.
    """

    nsys_trace: list[str] = field(default_factory=lambda: ["nvtx", "cuda"])

    def overrides(self) -> dict[str, Any]:
        """Of the recipe, by key."""
        return super().overrides() | {"profile.tool": "nsys"}

    def change(self, executor: Any) -> None:
        """nemo_run puts nsys before the script, and its launcher says how."""
        launcher = executor.get_launcher()
        launcher.nsys_profile, launcher.nsys_trace = True, self.nsys_trace
        launcher.nsys_filename = "profile_%h_%p"  # processes of several nodes may have the same number


@dataclass(kw_only=True)
class Wandb(_OfTraining):
    """Logs the training to Weights & Biases.

    Attributes:
        project, entity, group, tags: of Weights & Biases; None for those of the recipe.
        offline: on the disk only.
    """

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    offline: bool = False

    def overrides(self) -> dict[str, Any]:
        """Of the recipe, by key."""
        return {
            "track.wandb": "true",
            "track.offline": str(self.offline).lower(),
            "track.project": self.project,
            "track.entity": self.entity,
            "track.group": self.group,
            "track.tags": self.tags and " ".join(self.tags),
        }

    def change(self, executor: Any) -> None:
        """A container is handed the key by name; its value is in no script."""
        if isinstance(executor, run.SlurmExecutor) and executor.container_image:
            executor.container_env = [*(executor.container_env or []), _KEY]
