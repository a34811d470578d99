"""d2plm judge SAMPLES --reference FASTA_OR_PREFIX"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.console import run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.evaluation.samples.fold import check_fold
from d2plm_megatron.files import check_outputs, write_json
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import opened
from d2plm_megatron.runs.tensor_index import EMA

_NATURAL = "a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx"


def main(
    samples: Annotated[Path, typer.Argument(help="generated proteins, FASTA")],
    reference: Annotated[
        str, typer.Option(help=f"natural proteins to be like: {_NATURAL}; best held out from training")
    ],
    train: Annotated[
        str | None,
        typer.Option(help=f"proteins that were trained on, to be new among; default the reference: {_NATURAL}"),
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="run or checkpoint of another model, best trained on other data")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="of noise for each protein, of that model")] = 8,
    fold: Annotated[
        str | None,
        typer.Option(help="command that predicts structures: COMMAND {input} {output}, FASTA to CSV id,plddt"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="JSON file to write, with a .png beside it; default judge.json beside the samples"),
    ] = None,
) -> None:
    """Judges generated proteins beside natural ones, as a table, a sentence, JSON and pictures."""
    path = output or samples.with_name("judge.json")
    _check(path, samples, [where for where in (reference, train) if where is not None], fold)
    checkpoint = None if judge is None else opened(judge, EMA, None)
    check_outputs(_outputs(path), [] if judge is None else RunFolder(judge).own_files())
    from d2plm_megatron.evaluation.samples.figures import draw  # with matplotlib
    from d2plm_megatron.evaluation.samples.judgement import gather
    from d2plm_megatron.evaluation.samples.results import numbers, print_judgement

    found = gather(samples, reference, train, fold)
    if checkpoint is not None:
        from d2plm_megatron.evaluation.judging_model import asked  # with torch, which takes seconds

        found = found.with_measures(asked(checkpoint, found.panel, draws), str(judge))
    write_json(path, numbers(found))
    draw(found, path.with_suffix(".png"))
    print_judgement(found)
    print(path)


def _check(path: Path, samples: Path, given: list[str], fold: str | None) -> None:
    """Raises ValueError where the result cannot be written or would replace what is read, or the command cannot be."""
    if path.suffix != ".json":
        raise ValueError(f"--output {path}: name the JSON file, as in {path.stem}.json; the picture goes beside it")
    read = [samples, *(Path(where) for where in given), *(file for where in given for file in files_of(where))]
    check_outputs(_outputs(path), [*read, *RunFolder(path.parent).own_files()])
    if fold is not None:
        check_fold(fold)


def _outputs(path: Path) -> list[Path]:
    """The JSON file, and the picture beside it."""
    return [path, path.with_suffix(".png")]


if __name__ == "__main__":
    run(main)
