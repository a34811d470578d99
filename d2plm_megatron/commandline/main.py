"""What `python`, `torchrun` and `srun python recipes/NAME.py` do: read overrides, then show, check or train.

What training takes is imported only to train: torch and Megatron take seconds, in which --help should have answered and
a signal must not kill.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from rich.table import Table

from d2plm_megatron.commandline.dry_run import opening, print_plan
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.other_names import advice_for
from d2plm_megatron.config.overrides import GROUPS, keys_of, resolve, to_yaml
from d2plm_megatron.console import errors_as_one_line, show
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.parallel.launched import adopt_slurm, check_layout, world_size
from d2plm_megatron.parallel.preemption import PreemptionHandler, end_interrupted


def main(recipe: Callable[[], Recipe]) -> None:
    """Runs a recipe from the command line.

    Exit codes: 0 when it is done, 2 for what a user can mend, which one line on stderr names, and 75 when the run was
    interrupted and saved, so that the same command continues it.

    Args:
        recipe: returns the recipe; its docstring says what it is for.
    """
    with errors_as_one_line():
        arguments = _parser(recipe).parse_intermixed_args()
        adopt_slurm()
        chosen = resolve(recipe(), arguments.overrides)
        if arguments.cfg:
            print(to_yaml(chosen), end="")
        elif arguments.dry_run:
            print_plan(chosen, arguments.world_size, arguments.gpu_memory)
        elif not train(chosen):
            end_interrupted()


def train(recipe: Recipe) -> bool:
    """Trains as the recipe says, in as many processes as were started; without a GPU only as a smoke run.

    Returns false when the run was interrupted and saved.
    """
    data_size = check_layout(recipe.parallel, world_size())
    num_proteins = sum(len(IndexedProteins(source.prefix)) for source in recipe.data.sources)
    with PreemptionHandler() as interruption:
        import torch

        from d2plm_megatron.parallel.processes import Processes
        from d2plm_megatron.training.run import run

        is_smoke_run = not torch.cuda.is_available() and recipe.train.smoke_pack_tokens is not None
        if is_smoke_run:
            recipe = smoke_run(recipe, data_size)

        def announce(processes: Processes) -> None:
            if is_smoke_run:
                print(
                    f"no GPU: a smoke run in {recipe.output}/{recipe.name} with {recipe.train.global_batch_tokens:,} "
                    "tokens per step (train.smoke_pack_tokens=null trains with the recipe's own batch)",
                    flush=True,
                )
            if num_proteins:
                device = torch.cuda.get_device_name() if processes.device.type == "cuda" else "CPU"
                print(opening(recipe, num_proteins, processes.world_size, device), flush=True)

        return run(recipe, interruption, announce)


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


class _Parser(argparse.ArgumentParser):
    """Reports what is wrong in one line, as everything else here does.

    keys    of the recipe, one of which may be meant by an option that there is none of
    """

    keys: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        """Raises ValueError."""
        unknown = re.search(r"unrecognized arguments: (--[\w.-]+)", message)
        advice = unknown and advice_for(unknown[1], self.keys)
        raise ValueError(f"{message}; {f'{advice}; changes are written as key=value' if advice else 'see --help'}")


def _parser(recipe: Callable[[], Recipe]) -> argparse.ArgumentParser:
    parser = _Parser(description=recipe.__doc__, add_help=False, allow_abbrev=False)
    parser.keys = list(keys_of(recipe()))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the recipe, in Hydra's grammar")
    parser.add_argument("--cfg", choices=["job"], help="print the recipe with all overrides as YAML, and stop")
    parser.add_argument("--dry-run", action="store_true", help="check the recipe, print what it takes, and stop")
    parser.add_argument("--world-size", type=int, help="of the dry run: number of processes (default: as started)")
    parser.add_argument("--gpu-memory", type=float, help="of the dry run: GiB of each GPU (default: of the one here)")
    parser.add_argument("-h", "--help", action=_Help, nargs=0, recipe=recipe, help="print this and all keys, and stop")
    return parser


class _Help(argparse.Action):
    """Prints the usage and a table of all keys with their values in this recipe."""

    def __init__(self, *args: Any, recipe: Callable[[], Recipe], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recipe = recipe

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        """Ends the program."""
        print(parser.format_help())
        table = Table(title="keys of the recipe")
        for column in ("key", "value here", "meaning"):
            table.add_column(column, overflow="fold")
        for group, choices in GROUPS.items():
            table.add_row(group, "", f"a group, one of {', '.join(choices)}")
        for key, (value, text) in keys_of(self.recipe()).items():
            shown = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
            table.add_row(key, shown, text)
        show(table, width=140)
        parser.exit()
