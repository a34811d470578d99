"""d2plm train: a recipe by its name, from its file, or as a run has saved it."""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.commandline.main import Cfg, DryRun, GpuMemory, Help, Overrides, WorldSize, act, advise, print_help
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml
from d2plm_megatron.config.recipe_files import build, find, load
from d2plm_megatron.console import run

_NONE_GIVEN = "give a recipe's name (d2plm recipes lists them), a recipe's Python file, or --from recipe.yaml"


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
    asks_help: Help = False,
) -> None:
    """Trains a recipe, in as many processes as torchrun or srun start.

    Exit codes: 0 when it is done, 2 for what a user can mend, and 75 when the run was interrupted and saved.
    """
    recipe, changes = _chosen([*filter(None, [name]), *(overrides or [])], saved)
    if asks_help:
        print_help(context, recipe)
    elif recipe is None:
        raise ValueError(_NONE_GIVEN)
    else:
        act(recipe, changes, cfg, dry_run, world_size, gpu_memory)


def _chosen(words: list[str], saved: Path | None) -> tuple[Recipe | None, list[str]]:
    """(the recipe that was asked for, the changes to it)."""
    names = [word for word in words if "=" not in word or Path(word).is_file()]
    changes = [word for word in words if word not in names]
    if len(names) > (saved is None):
        raise ValueError(f"{names[-1]}: the recipe is {saved or names[0]} already; changes are written as key=value")
    if saved is not None:
        return from_yaml(saved / "recipe.yaml" if saved.is_dir() else saved), changes
    return (build(load(_file_of(names[0]))) if names else None), changes


def _file_of(name: str) -> Path:
    if Path(name).suffix in (".yaml", ".yml"):
        raise ValueError(f"{name}: is a saved recipe; write --from {name}")
    return find(name)


if __name__ == "__main__":
    run(main, advise=advise)
