"""d2plm launch RECIPE --cluster FILE key=value ..., which is also python -m launchers."""

from dataclasses import replace
from typing import Annotated

import typer

from d2plm_megatron.config.checks import one_of
from d2plm_megatron.console import run

from . import cluster
from .cluster import LAUNCHERS, Cluster
from .launch import How, launch
from .plan import Request
from .tasks import Resources

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="a recipe's name, or its Python file")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="key=value", help="changes to the recipe", show_default=False)
]
Where = Annotated[
    str, typer.Option("--cluster", help="a cluster's YAML file, or the name of one that comes with the package")
]
Nodes = Annotated[int, typer.Option(min=1, max=100_000, help="to train on")]
Gpus = Annotated[int | None, typer.Option("--gpus-per-node", min=0, max=1_000, help="default of the cluster")]
Time = Annotated[
    str | None, typer.Option(help="limit of each task, as Slurm writes it: 4:00:00, 1-12; default of the cluster")
]
OfSlurm = Annotated[str | None, typer.Option(help="of Slurm; default of the cluster")]
Prepare = Annotated[str | None, typer.Option(help="raw proteins to prepare first, and train on", metavar="FASTA")]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="measure what was trained, on data.validation")]
Generate = Annotated[bool, typer.Option("--generate", help="generate proteins with what was trained")]
Launcher = Annotated[str, typer.Option(help="what starts the processes on Slurm: srun or torchrun")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check all, print the scripts, and submit nothing")]
Rehearsal = Annotated[
    bool, typer.Option("--rehearsal/--no-rehearsal", help="rehearse the first rank before anything is submitted")
]
AtOnce = Annotated[
    int | None, typer.Option(min=1, help="runs of a sweep at a time; default 1 here, and no limit on Slurm")
]
Nsys = Annotated[str | None, typer.Option(metavar="FIRST:LAST", help="steps to capture under `nsys profile`, on GPUs")]
Wait = Annotated[bool, typer.Option("--wait", help="show the logs, and end when all tasks have ended")]


def main(
    recipe: RecipeName,
    overrides: Overrides = None,
    where: Where = "local",
    nodes: Nodes = 1,
    gpus_per_node: Gpus = None,
    time: Time = None,
    account: OfSlurm = None,
    partition: OfSlurm = None,
    prepare: Prepare = None,
    evaluate: Evaluate = False,
    generate: Generate = False,
    launcher: Launcher = "srun",
    dry_run: DryRun = False,
    rehearsal: Rehearsal = True,
    at_once: AtOnce = None,
    nsys: Nsys = None,
    wait: Wait = False,
) -> None:
    """Launches a recipe on a cluster, or here: trains it, and what comes before and after.

    Exit codes: 0 when all was submitted, or with --wait has succeeded; 1 when a task failed; 2 for what a user can
    mend; 75 when training here was interrupted and saved, so that the same command continues it.
    """
    one_of("--launcher", launcher, LAUNCHERS)
    on = cluster.read(cluster.find(where))
    needs = _needs(on, nodes, gpus_per_node, Resources(time=time, account=account, partition=partition))
    request = Request(
        recipe=recipe,
        overrides=overrides or [],
        resources=needs,
        prepare=prepare,
        evaluate=evaluate,
        generate=generate,
    )
    window = None if nsys is None else _window(nsys)
    how = How(launcher=launcher, at_once=at_once, dry_run=dry_run, rehearsal=rehearsal, wait=wait, nsys=window)
    raise SystemExit(launch(request, on, how))


def _needs(on: Cluster, nodes: int, gpus_per_node: int | None, asked: Resources) -> Resources:
    """What training runs on: a process for each GPU, where neither the command nor the cluster says otherwise."""
    gpus = on.gpus_per_node if gpus_per_node is None else gpus_per_node
    processes = (gpus_per_node or on.processes_per_node or gpus) or 1
    return replace(asked, nodes=nodes, gpus_per_node=gpus, processes_per_node=processes)


def _window(text: str) -> tuple[int, int]:
    """The first and the last step of "10:20". Raises ValueError."""
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ValueError(f"--nsys {text}: write the first and the last step, such as 10:12")
    return int(first), int(last)


if __name__ == "__main__":
    run(main, program="python -m launchers")
