"""d2plm metrics samples RUN"""

import re
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config.overrides import from_yaml
from d2plm_megatron.console import counted, note, run
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.tracking.tracker import begin_trackers

_STEP = re.compile(rb"checkpoint_step=(\d+)")


def samples(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, which was tracked")],
    file: Annotated[Path | None, typer.Option("--samples", help="FASTA file; default RUN/samples.fasta")] = None,
) -> None:
    """Shows the proteins that `d2plm generate` wrote in the trackers of their run, as a table."""
    folder = RunFolder(path)
    recipe = from_yaml(path / "recipe.yaml")
    fasta = file or folder.samples
    proteins = [letters for _, letters in read_fasta(fasta)]
    with folder.locked():
        trackers = begin_trackers(recipe, path, None, note)
        if not trackers:
            raise ValueError(
                f"{path}: was trained without track.wandb=true or track.tensorboard=true; nothing shows it"
            )
        for tracker in trackers:
            tracker.log_samples(_step(fasta), proteins)
        kept = [tracker.finish() for tracker in trackers]
    if not any(kept):
        raise ValueError(f"{path}: no tracker took the proteins")
    print(f"{path}: {counted(len(proteins), 'protein')} of {fasta}")


def _step(fasta: Path) -> int:
    """Of the checkpoint that generated them, as the first header says; 0 where it does not."""
    with fasta.open("rb") as opened:
        found = _STEP.search(opened.readline())
    return int(found[1]) if found else 0


if __name__ == "__main__":
    run(samples)
