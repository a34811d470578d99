"""d2plm rehearse RECIPE --world-size 1024 --gpu H100 key=value ..."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.config.budget import TYPICAL_LENGTH
from d2plm_megatron.config.hardware import gpu as gpu_named
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.recipe_files import NONE_GIVEN, chosen
from d2plm_megatron.console import counted, progress, run
from d2plm_megatron.files import check_outputs
from d2plm_megatron.rehearsal.job import Job

AUTO = "auto"
GpusPerNode = Annotated[int | None, typer.Option(help="ranks that share a node; default of --gpu", show_default=False)]
Saved = Annotated[
    Path | None, typer.Option("--from", help="start from a saved recipe.yaml, or that of a run's folder, instead")
]


def main(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE key=value", help="a recipe's name or file, and changes to it")
    ] = None,
    world_size: Annotated[int, typer.Option(help="processes of the run, one for each GPU")] = 1,
    gpu: Annotated[str, typer.Option(help="which GPU the time is estimated for")] = "H100",
    gpu_memory: Annotated[float | None, typer.Option(help="GiB of each; default of --gpu", show_default=False)] = None,
    gpus_per_node: GpusPerNode = None,
    ranks: Annotated[str, typer.Option(help="auto (those that differ), or as in 0,8,1023")] = AUTO,
    length: Annotated[int, typer.Option(help="tokens of every protein")] = TYPICAL_LENGTH,
    output: Annotated[Path | None, typer.Option(help="file to write all that was found to, as JSON")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="rehearse all sensible layouts, fastest first")] = False,
    saved: Saved = None,
) -> None:
    """Rehearses ranks of a job here, without its GPUs or data: memory, traffic, and an estimate of the time.

    Exit codes: 0 when the run would fit, 2 when it would not, and for what a user can mend.
    """
    recipe, changes = chosen(words or [], saved)
    if recipe is None:
        raise ValueError(NONE_GIVEN)
    card = gpu_named(gpu)
    job = Job(
        recipe=resolve(recipe, changes),
        world_size=world_size,
        gpu=replace(card, gpus_per_node=card.gpus_per_node if gpus_per_node is None else gpus_per_node),
        gpu_memory=card.memory_gib if gpu_memory is None else gpu_memory,
        length=length,
    )
    asked = asked_ranks(ranks, world_size)
    if compare and asked:
        raise ValueError(
            f"--ranks={ranks}: --compare rehearses the first and the last stage of each layout; leave it out"
        )
    check_output(output)
    if compare:
        _compare(job, output)
    else:
        job.check_layout()
        _rehearse(job, asked, output)


def asked_ranks(text: str, world_size: int) -> tuple[int, ...]:
    """The ranks that --ranks names, each once; none for auto. Raises ValueError for one that there is none of."""
    if text == AUTO:
        return ()
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if not (word.isascii() and word.isdigit() and int(word) < world_size)]:
        raise ValueError(
            f"--ranks={text}: {unknown[0] or 'nothing'} is no rank of {counted(world_size, 'process')} "
            f"(0 to {world_size - 1}); write auto, or numbers with commas between them"
        )
    return tuple(sorted({int(word) for word in words}))


def check_output(output: Path | None) -> None:
    """Raises ValueError when the file cannot be written, before any work."""
    if output is None:
        return
    check_outputs([output])
    if not output.absolute().parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}; make it first")


def _rehearse(job: Job, asked: Sequence[int], output: Path | None) -> None:
    from d2plm_megatron.rehearsal.agreement import check_agreement  # with torch, which takes seconds
    from d2plm_megatron.rehearsal.rank import rehearse_rank
    from d2plm_megatron.rehearsal.record import Rehearsal, as_json, write
    from d2plm_megatron.rehearsal.table import print_rehearsal
    from d2plm_megatron.rehearsal.world import ranks_to_rehearse

    ranks, found = asked or ranks_to_rehearse(job.recipe.parallel, job.world_size), []
    for number, rank in enumerate(ranks, start=1):
        begin = time.perf_counter()
        found.append(rehearse_rank(job.recipe, rank, job.world_size, length=job.length))
        _say(f"rank {rank:,} rehearsed in {time.perf_counter() - begin:.1f} s ({number} of {len(ranks)})")
    rehearsal = Rehearsal(job=job, ranks=tuple(found), comparisons=check_agreement(found))
    print_rehearsal(rehearsal)
    if output is not None:
        write(as_json(rehearsal), output)
    rehearsal.check_fits()


def _compare(job: Job, output: Path | None) -> None:
    from d2plm_megatron.rehearsal.compare import compare, ends, layouts, may_fit
    from d2plm_megatron.rehearsal.record import layouts_as_json, write
    from d2plm_megatron.rehearsal.table import print_layouts

    if not (sensible := list(layouts(job))):
        replace(job, recipe=replace(job.recipe, parallel=Parallel())).check_layout()  # says why not even the plainest
        raise ValueError(f"no layout shares the batch of {job.recipe.name} among {counted(job.world_size, 'GPU')}")
    hopeful = [one for one in sensible if may_fit(one)]
    _say(
        f"{counted(len(sensible), 'layout')} for {counted(job.world_size, 'GPU')}; "
        f"{len(sensible) - len(hopeful)} need more memory than there is by arithmetic"
    )
    if not hopeful:
        raise ValueError(f"no layout of {counted(job.world_size, 'GPU')} of {job.gpu_memory:g} GiB can hold the run")
    with progress("rehearsing", total=sum(len(ends(one)) for one in hopeful), unit="ranks") as advance:
        found = compare(hopeful, advance)
    print_layouts(found)
    if output is not None:
        write(layouts_as_json(found), output)
    found[0].check_fits()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
