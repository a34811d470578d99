"""Tasks: commands of the package, and what each needs. Words are chosen here, and quoted by who writes the script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PYTHON = "python"
"""The first word of every command: the interpreter that the place where it runs is set up with."""

_PACKAGE = (PYTHON, "-m", "d2plm_megatron")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a task runs on.

    Attributes:
        nodes: number of them.
        gpus_per_node: GPUs of each; 0 for none.
        processes_per_node: of the task, on each node.
        time: limit, as Slurm writes it; None for that of the cluster.
        account, partition: None for those of the cluster.
    """

    nodes: int = 1
    gpus_per_node: int = 0
    processes_per_node: int = 1
    time: str | None = None
    account: str | None = None
    partition: str | None = None

    @property
    def num_processes(self) -> int:
        """On all nodes together."""
        return self.nodes * self.processes_per_node


@dataclass(frozen=True, kw_only=True)
class Task:
    """One command of the package.

    Attributes:
        name: unique in its experiment, and the name of its folder.
        command: its words, of which the first is PYTHON.
        resources: that it needs.
        after: names of tasks that must have succeeded.
        environment: of this task alone.
        ships: the recipe's file, where the cluster does not see it; it goes with the task, with the files beside it.
    """

    name: str
    command: tuple[str, ...]
    resources: Resources
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ships: str | None = None

    @property
    def kind(self) -> str:
        """Which command of the package it is: prepare, train, evaluate or generate."""
        return self.command[len(_PACKAGE)]


def prepare(inputs: Sequence[str], output: str, resources: Resources, name: str = "prepare") -> Task:
    """Raw proteins become the data sets OUTPUT/train and OUTPUT/validation."""
    return Task(name=name, command=(*_PACKAGE, "prepare", "--input", *inputs, "--output", output), resources=resources)


def train(
    recipe: str,
    overrides: Sequence[str],
    resources: Resources,
    after: Sequence[str] = (),
    name: str = "train",
    ships: str | None = None,
) -> Task:
    """Trains a recipe, named or by its file, with changes; the same task again goes on where it stood."""
    command = (*_PACKAGE, "train", recipe, *overrides)
    return Task(name=name, command=command, resources=resources, after=tuple(after), ships=ships)


def evaluate(
    run: str,
    data: str,
    resources: Resources,
    layout: Sequence[str] = (),
    after: Sequence[str] = (),
    name: str = "evaluate",
) -> Task:
    """Measures a run's best checkpoint on held-out proteins; `layout` are its options, such as --tensor 2."""
    command = (*_PACKAGE, "evaluate", run, "--data", data, *layout, "--overwrite")
    return Task(name=name, command=command, resources=resources, after=tuple(after))


def generate(
    run: str, resources: Resources, layout: Sequence[str] = (), after: Sequence[str] = (), name: str = "generate"
) -> Task:
    """New proteins from a run, into RUN/samples.fasta; `layout` are its options, such as --tensor 2."""
    return Task(
        name=name, command=(*_PACKAGE, "generate", run, *layout, "--overwrite"), resources=resources, after=tuple(after)
    )
