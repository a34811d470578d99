"""d2plm judge SAMPLES_OR_RUN --reference FASTA_OR_PREFIX"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.evaluation.samples.fold import check_fold
from d2plm_megatron.files import check_outputs, stem_of, write_json
from d2plm_megatron.parallel.launched import adopt_slurm, rank
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import (
    Draws,
    Pipeline,
    Precision,
    Seed,
    Tensor,
    TokensPerPack,
    Weights,
    Window,
    opened,
)
from d2plm_megatron.runs.tensor_index import EMA

if TYPE_CHECKING:
    from d2plm_megatron.evaluation.samples.judgement import Judgement

_NATURAL = "a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx"

Samples = Annotated[
    Path, typer.Argument(metavar="SAMPLES", help="generated proteins, FASTA; or a run, with its samples.fasta")
]
Reference = Annotated[str, typer.Option(help=f"natural proteins to be like: {_NATURAL}; best held out from training")]
Train = Annotated[
    str | None, typer.Option(help=f"proteins that were trained on, to be new among; default the reference: {_NATURAL}")
]
Judge = Annotated[Path | None, typer.Option(help="run or checkpoint of another model, best trained on other data")]
Fold = Annotated[
    str | None, typer.Option(help="command that predicts structures: COMMAND {input} {output}, FASTA to CSV id,plddt")
]
Output = Annotated[
    Path | None,
    typer.Option(help="JSON to write, with a .png beside it; default NAME.judge.json of NAME.fasta, RUN/judge.json"),
]


def main(
    samples: Samples, reference: Reference, train: Train = None, fold: Fold = None, output: Output = None,
    judge: Judge = None, draws: Draws = 8, seed: Seed = 0, window: Window = None, tokens_per_pack: TokensPerPack = 8192,
    weights: Weights = EMA, precision: Precision = None, tensor: Tensor = 1, pipeline: Pipeline = 1,
) -> None:  # fmt: skip
    """Judges generated proteins beside natural ones, as a table, a sentence, JSON and pictures."""
    fasta = RunFolder(samples).samples if samples.is_dir() else samples
    path = output or _default_output(fasta)
    _check(path, fasta, [where for where in (reference, train) if where is not None], judge, fold)
    checkpoint = None if judge is None else opened(judge, weights, precision)
    from d2plm_megatron.data.whole import read_whole
    from d2plm_megatron.evaluation.samples.judgement import gather
    from d2plm_megatron.evaluation.samples.panel import build_panel

    if train is not None:
        next(read_whole(train), None)  # raises at once where it cannot be read
    panel = build_panel(fasta, reference)
    if checkpoint is None:
        adopt_slurm()
        is_main, columns, about = rank() == 0, None, None
    else:
        from d2plm_megatron.evaluation.judging_model import Question  # with torch, which takes seconds

        question = Question(
            checkpoint=checkpoint, weights=weights, precision=precision,
            parallel=Parallel(tensor=tensor, pipeline=pipeline),
            num_draws=draws, seed=seed, window=window, tokens_per_pack=tokens_per_pack,
        )  # fmt: skip
        columns, about, is_main = question.ask(panel)
    if is_main:  # the model came first, as the other processes do not wait for what follows
        found = gather(panel, train, fold, path.parent)
        _tell(found.with_measures(columns, about) if columns and about else found, path)


def _tell(found: "Judgement", path: Path) -> None:
    from d2plm_megatron.evaluation.samples.figures import draw  # with matplotlib
    from d2plm_megatron.evaluation.samples.results import numbers, print_judgement

    write_json(path, numbers(found))
    draw(found, path.with_suffix(".png"))
    print_judgement(found)
    print(path)


def _default_output(samples: Path) -> Path:
    """NAME.judge.json beside NAME.fasta, so that each of a folder has its own; judge.json for the samples of a run."""
    is_of_run = samples.name == RunFolder(samples.parent).samples.name and (samples.parent / "recipe.yaml").is_file()
    return samples.with_name("judge.json" if is_of_run else f"{stem_of(samples)}.judge.json")


def _check(path: Path, samples: Path, given: list[str], judge: Path | None, fold: str | None) -> None:
    """Raises ValueError where the result cannot be written or would replace what is read, or the command cannot be."""
    if path.suffix != ".json":
        raise ValueError(f"--output {path}: name the JSON file, as in {path.stem}.json; the picture goes beside it")
    runs = [path.parent, *filter(None, [judge])]
    own = [file for folder in runs for file in RunFolder(folder).own_files()]
    read = [samples, *(Path(where) for where in given), *(file for where in given for file in files_of(where))]
    check_outputs([path, path.with_suffix(".png")], [*read, *own])
    if fold is not None:
        check_fold(fold)


if __name__ == "__main__":
    run(main)
