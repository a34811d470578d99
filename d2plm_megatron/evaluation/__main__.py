"""d2plm evaluate CHECKPOINT [CHECKPOINT ...] --data PREFIX_OR_FASTA"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2plm_megatron.config import Data, Parallel
from d2plm_megatron.console import note, run
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.data.whole import is_fasta
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import (
    Draws,
    Overwrite,
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
    from d2plm_megatron.evaluation.evaluate import Evaluation

Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT", help="folders of checkpoints or runs; of several, each is compared with the first"
    ),
]
HeldOutProteins = Annotated[
    str, typer.Option(help="held-out proteins: a FASTA file, or PREFIX of PREFIX.bin and PREFIX.idx")
]
MaxProteins = Annotated[int, typer.Option(help="proteins to look at, a fixed sample")]
Output = Annotated[
    Path | None, typer.Option(help="JSON to write; default CHECKPOINT/evaluation.json, of several comparison.json")
]
Table = Annotated[Path | None, typer.Option(help="a row for each protein, too: .csv or .parquet to write")]
PseudoProteins = Annotated[int | None, typer.Option(help="pseudo-perplexity, too, of so many proteins, a fixed sample")]
Until = Annotated[
    float | None, typer.Option(help="draw on until the ELBO perplexity's error of draws is not above this")
]
Train = Annotated[
    str | None, typer.Option(help="training proteins, to fit n-grams to, as data.train; default those of the run")
]
MaxLength = Annotated[
    int | None, typer.Option(help="leave out proteins of more residues; the same for all you compare")
]


def main(
    checkpoints: Checkpoints, data: HeldOutProteins,
    output: Output = None, table: Table = None, overwrite: Overwrite = False,
    pseudo_proteins: PseudoProteins = None, draws: Draws = 8, until: Until = None, seed: Seed = 0,
    max_length: MaxLength = None, window: Window = None, train: Train = None, max_proteins: MaxProteins = 1_000_000,
    weights: Weights = EMA, precision: Precision = None, tensor: Tensor = 1, pipeline: Pipeline = 1,
    tokens_per_pack: TokensPerPack = 8192,
) -> None:  # fmt: skip
    """Measures the perplexity of held-out proteins, as tables, a picture and JSON; compares models with the first."""
    found = [opened(checkpoint, weights, precision) for checkpoint in checkpoints]
    config = EvaluationConfig(
        num_draws=draws,
        until=until,
        seed=seed,
        window=_common_window(found) if window is None else window,
        max_length=max_length,
        max_proteins=max_proteins,
        pseudo_proteins=pseudo_proteins,
        tokens_per_pack=tokens_per_pack,
        train=train,
    )
    path = output or (RunFolder(checkpoints[0]).evaluation if len(found) == 1 else Path("comparison.json"))
    outputs = [path, picture := path.with_suffix(".png"), *filter(None, [table])]
    _check(outputs, table, checkpoints, data, train)
    is_stale = len(found) == 1 and path == RunFolder(checkpoints[0]).evaluation and _is_of_another(path, found[0])
    check_outputs(outputs[:2], overwrite=overwrite or is_stale)
    check_outputs(outputs[2:], overwrite=overwrite)
    parallel = Parallel(tensor=tensor, pipeline=pipeline)
    evaluations, is_main = _evaluated(found, data, config, weights, precision, parallel)
    if is_main:
        from d2plm_megatron.evaluation.outputs import report, told_apart

        report(told_apart(checkpoints), evaluations, path, picture, table)
        print(*outputs, sep="\n")


def _evaluated(
    checkpoints: Sequence[Checkpoint],
    data: str,
    config: EvaluationConfig,
    weights: str,
    precision: str | None,
    parallel: Parallel,
) -> tuple[list["Evaluation"], bool]:
    """Of each model in turn, and whether this is the process that tells it."""
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.evaluation.evaluate import Evaluation, evaluate
    from d2plm_megatron.inference.model import TrainedModel

    evaluations: list[Evaluation] = []
    is_main = True
    for checkpoint in checkpoints:
        with TrainedModel.open(checkpoint, weights, precision, parallel=parallel) as model:
            evaluations.append(evaluate(model, data, config, [one.floors for one in evaluations]))
            is_main = model.processes.is_main
    return evaluations, is_main


def _check(
    outputs: Sequence[Path], table: Path | None, checkpoints: Sequence[Path], data: str, train: str | None
) -> None:
    """Raises ValueError or OSError for what cannot be written, would replace what is read, or cannot be opened."""
    if table is not None:
        check_suffix(table)
    own = [path for checkpoint in checkpoints for path in RunFolder(checkpoint).own_files()]
    check_outputs(outputs, [*own, *files_of(data), Path(data)])
    if not is_fasta(data):
        IndexedProteins(data)
    for source in Data(train=train).sources:
        IndexedProteins(source.prefix)


def _is_of_another(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether an evaluation is of what a run was before it was trained further: the default one of a run is renewed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["trained"] != checkpoint.state["date"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _common_window(checkpoints: Sequence[Checkpoint]) -> int:
    """The least of what the models were trained on, so that all see the same parts of long proteins."""
    trained = [checkpoint.recipe.data.max_length_residues for checkpoint in checkpoints]
    if len(set(trained)) > 1:
        note(f"windows of {min(trained):,} residues for all, the least that a model here was trained on; see --window")
    return min(trained)


if __name__ == "__main__":
    run(main)
