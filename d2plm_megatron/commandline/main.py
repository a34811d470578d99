"""What `python`, `torchrun` and `srun python recipes/NAME.py` do: read overrides, then show, check or train.

What training takes is imported only to train: torch and Megatron take seconds, in which --help should have answered and
a signal must not kill.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from d2plm_megatron.commandline.dry_run import opening, print_plan, what_is_done
from d2plm_megatron.config import Recipe, one_of
from d2plm_megatron.config.other_names import advice_for
from d2plm_megatron.config.overrides import GROUPS, keys_of, known_keys, resolve, to_yaml
from d2plm_megatron.config.recipe_files import build
from d2plm_megatron.console import run, show
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.parallel.launched import adopt_slurm, check_layout, rank, world_size
from d2plm_megatron.parallel.preemption import PreemptionHandler, end_interrupted
from d2plm_megatron.runs.parent import check_parent

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="key=value", help="changes to the recipe, in Hydra's grammar", show_default=False),
]
Cfg = Annotated[str | None, typer.Option(metavar="job", help="print the recipe with all overrides as YAML, and stop")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check the recipe, print what it takes, and stop")]
WorldSize = Annotated[
    int | None, typer.Option(help="of the dry run: number of processes; default as started", show_default=False)
]
GpuMemory = Annotated[
    float | None, typer.Option(help="of the dry run: GiB of each GPU; default of the one here", show_default=False)
]
GpuKind = Annotated[
    str | None,
    typer.Option(
        "--gpu", help="of the dry run: kind of the GPUs, such as H100; default the one here", show_default=False
    ),
]
Help = Annotated[bool, typer.Option("--help", "-h", help="print this and all keys of the recipe, and stop")]
_SMOKE_RUN = "no GPU: a smoke run (train.smoke_pack_tokens=null trains with the recipe's own batch)"


def main(recipe: Callable[[], Recipe]) -> None:
    """Runs the recipe of a file from the command line, as `d2plm train FILE` does; ends the process.

    Exit codes: 0 when it is done, 2 for what a user can mend, which one line on stderr names, and 75 when the run was
    interrupted and saved, so that the same command continues it.

    Args:
        recipe: returns the recipe; its docstring says what it is for.
    """

    def train(
        context: typer.Context,
        overrides: Overrides = None,
        cfg: Cfg = None,
        dry_run: DryRun = False,
        world_size: WorldSize = None,
        gpu_memory: GpuMemory = None,
        gpu: GpuKind = None,
        asks_help: Help = False,
    ) -> None:
        if asks_help:
            print_help(context, build(recipe))
        else:
            act(build(recipe), overrides or [], cfg, dry_run, world_size, gpu_memory, gpu)

    train.__doc__ = recipe.__doc__
    run(train, advise=advise)


def act(
    recipe: Recipe,
    overrides: Sequence[str],
    cfg: str | None,
    dry_run: bool,
    world_size: int | None,
    gpu_memory: float | None,
    gpu: str | None,
) -> None:
    """Shows, checks or trains a recipe, as its command line asks; ends the process of a run that was interrupted."""
    adopt_slurm()
    chosen = resolve(recipe, overrides)
    if cfg is not None:
        one_of("--cfg", cfg, ("job",))
        print(to_yaml(chosen), end="")
    elif dry_run:
        print_plan(chosen, world_size, gpu_memory, gpu)
    elif not train(chosen):
        end_interrupted()


def advise(option: str) -> str | None:
    """Which key of a recipe may be meant by an option that there is none of."""
    advice = advice_for(option, known_keys())
    return advice and f"{advice}; changes are written as key=value"


def print_help(context: typer.Context, recipe: Recipe | None) -> None:
    """Prints the usage and, where a recipe was named, a table of all keys with their values in it."""
    print(context.get_help())
    if recipe is None:
        return
    table = Table(title="keys of the recipe")
    for column in ("key", "value here", "meaning"):
        table.add_column(column, overflow="fold")
    for group, choices in GROUPS.items():
        table.add_row(group, "", f"a group, one of {', '.join(choices)}")
    for key, (value, text) in keys_of(recipe).items():
        shown = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
        table.add_row(key, shown, text)
    show(table, width=140)


def train(recipe: Recipe) -> bool:
    """Trains as the recipe says, in as many processes as were started; without a GPU only as a smoke run.

    Returns false when the run was interrupted and saved.
    """
    data_size, num_proteins = check_layout(recipe.parallel, world_size()), _num_proteins(recipe)
    check_parent(recipe)
    if rank() == 0:
        print(opening(recipe, num_proteins, world_size()), flush=True)
    with PreemptionHandler() as preemption:
        import torch

        from d2plm_megatron.parallel.processes import Processes
        from d2plm_megatron.training.run import run as run_to_end

        is_smoke_run = not torch.cuda.is_available() and recipe.train.smoke_pack_tokens is not None
        if is_smoke_run:
            recipe = smoke_run(recipe, data_size)

        def announce(recipe: Recipe, processes: Processes) -> None:
            if is_smoke_run:
                print(_SMOKE_RUN, flush=True)
            device = torch.cuda.get_device_name() if processes.device.type == "cuda" else "CPU"
            print(what_is_done(recipe, device), flush=True)

        return run_to_end(recipe, preemption, announce)


def _num_proteins(recipe: Recipe) -> int:
    """To train on. Raises ValueError when data are not named or not there, before torch is imported."""
    if recipe.data.train is None:
        raise ValueError("data.train: give the prefix of the training data, for example data.train=corpus/train")
    if recipe.data.validation is not None:
        IndexedProteins(recipe.data.validation)
    return sum(len(IndexedProteins(source.prefix)) for source in recipe.data.sources)


def smoke_run(recipe: Recipe, data_size: int) -> Recipe:
    """The recipe with one small pack per rank and step, to try it where there is no GPU, in a run folder of its own."""
    tokens = recipe.train.smoke_pack_tokens
    assert tokens is not None
    longest = min(recipe.data.max_length_residues, tokens - 2)
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        data=replace(recipe.data, tokens_per_pack=tokens, max_length_residues=longest),
        train=replace(recipe.train, global_batch_tokens=tokens * data_size),
    )
