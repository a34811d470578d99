"""d2plm train: a recipe by its name, from its file, or as a run has saved it."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.commandline.main import (
    Cfg,
    DryRun,
    GpuKind,
    GpuMemory,
    Help,
    Overrides,
    WorldSize,
    act,
    advise,
    print_help,
)
from d2plm_megatron.config.recipe_files import NONE_GIVEN, chosen
from d2plm_megatron.console import run


def main(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME_OR_PATH", help="a recipe's name, or its Python file", show_default=False),
    ] = None,
    overrides: Overrides = None,
    saved: Annotated[
        Path | None, typer.Option("--from", help="start from a saved recipe.yaml, or that of a run's folder, instead")
    ] = None,
    cfg: Cfg = None,
    dry_run: DryRun = False,
    world_size: WorldSize = None,
    gpu_memory: GpuMemory = None,
    gpu: GpuKind = None,
    asks_help: Help = False,
) -> None:
    """Trains a recipe, in as many processes as torchrun or srun start.

    Exit codes: 0 when it is done, 2 for what a user can mend, and 75 when the run was interrupted and saved.
    """
    recipe, changes = chosen([*filter(None, [name]), *(overrides or [])], saved)
    if asks_help:
        print_help(context, recipe)
    elif recipe is None:
        raise ValueError(NONE_GIVEN)
    else:
        act(recipe, changes, cfg, dry_run, world_size, gpu_memory, gpu)


if __name__ == "__main__":
    run(main, advise=advise)
