"""The memory that a dry run states, by arithmetic, against what a rehearsal finds: `python -m verification.sizes`.

Every recipe is rehearsed as it is, on as many GPUs as it takes, and some on other layouts. The difference may be a
twentieth. The GPU's own, that no rehearsal sees, is left to the margin of the dry run.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.table import Table

from benchmarks.machine import machine
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.recipe_files import find, load, shipped
from d2plm_megatron.config.sizing import GIB, memory_of_stages
from d2plm_megatron.console import show
from d2plm_megatron.rehearsal.rank import rehearse_rank

TOLERANCE = 0.05
MOST_DATA_RANKS = 128

OTHER_LAYOUTS = {
    "absorbing_450m, FSDP": ("absorbing_450m", ["parallel.sharding=parameters"]),
    "esm2_15b, pipeline of 4": ("esm2_15b", ["parallel.pipeline=4"]),
    "fm_450m, tensor 2": ("fm_450m", ["parallel.tensor=2"]),
    "esm2_650m in fp32": ("esm2_650m", ["train.precision=fp32", "data.tokens_per_pack=2048"]),
}
"""Recipes with changes, by what to call them."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a pipeline stage at the peak, as stated and as rehearsed."""

    name: str
    world_size: int
    stage: int
    stated: int
    rehearsed: int

    @property
    def off(self) -> float:
        """By what share of the rehearsed the stated are off."""
        return self.stated / self.rehearsed - 1


def main() -> None:
    """Prints the table; exit code 1 when a stage is further off than the tolerance."""
    table = Table("recipe", "GPUs", "stage", "stated, GiB", "rehearsed, GiB", "off", title="memory of a process")
    found = []
    for name, recipe in recipes().items():
        for sizes in compared(name, recipe):
            found.append(sizes)
            shown = (f"{sizes.stated / GIB:.2f}", f"{sizes.rehearsed / GIB:.2f}", f"{sizes.off:+.1%}")
            table.add_row(name, str(sizes.world_size), str(sizes.stage), *shown)
    show(table, width=100)
    print(machine("torch", "megatron-core"))
    sys.exit(any(abs(sizes.off) > TOLERANCE for sizes in found))


def recipes() -> dict[str, Recipe]:
    """All that are compared, by name."""
    own = {path.stem: load(path)() for path in shipped()}
    changed = {name: resolve(load(find(parent))(), changes) for name, (parent, changes) in OTHER_LAYOUTS.items()}
    return own | changed


def shallow(recipe: Recipe) -> Recipe:
    """The recipe with two layers to a stage, which is as wide and takes a fraction of the time."""
    return replace(recipe, model=replace(recipe.model, num_layers=2 * recipe.parallel.pipeline))


def compared(name: str, recipe: Recipe) -> Iterator[Sizes]:
    """The first and the last stage of a recipe, on the most data ranks that it takes, up to a bound."""
    parallel = recipe.parallel
    data_size = math.gcd(recipe.train.global_batch_tokens // recipe.data.tokens_per_pack, MOST_DATA_RANKS)
    world_size = data_size * parallel.tensor * parallel.pipeline
    stated = memory_of_stages(recipe, data_size)
    for stage in sorted({0, parallel.pipeline - 1}):
        rehearsed = rehearse_rank(recipe, stage * world_size // parallel.pipeline, world_size)
        peak = max(rehearsed.peak_passes, rehearsed.peak_update)
        yield Sizes(name, world_size, stage, stated[stage].total, peak)


if __name__ == "__main__":
    main()
