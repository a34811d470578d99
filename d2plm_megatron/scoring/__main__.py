"""d2plm score|mutations|embed CHECKPOINT --input x.fasta"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel, between, one_of
from d2plm_megatron.console import counted, run
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.files import check_outputs, stem_of
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import (
    CheckpointPath,
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
from d2plm_megatron.runs.requested import of_model
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.scoring import embeddings
from d2plm_megatron.scoring.given import Given
from d2plm_megatron.scoring.options import (
    ElboDraws,
    HeatMap,
    Methods,
    Mutants,
    Offset,
    Proteins,
    Pseudo,
    ReferenceFile,
    ScoreColumn,
    Scored,
    Scores,
    Sort,
    WildType,
)
from d2plm_megatron.scoring.work import METHODS, Request, Work


def score(
    checkpoint: CheckpointPath,
    input: Proteins,
    output: Scores = None,
    overwrite: Overwrite = False,
    draws: Draws = 8,
    pseudo: Pseudo = False,
    sort: Sort = "elbo",
    seed: Seed = 0,
    window: Window = None,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    tokens_per_pack: TokensPerPack = 8192,
) -> None:
    """Tells how likely a model finds given proteins, one by one, as a table, the likeliest first."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    one_of("--sort", sort, ("elbo", "pseudo", "none"))
    if sort == "pseudo" and not pseudo:
        raise ValueError("--sort pseudo: needs --pseudo, which is what it sorts by")
    path = output or input.with_name(f"{stem_of(input)}.scores.csv")
    check_suffix(path)
    check_outputs([path], [*RunFolder(checkpoint).own_files(), input, *files_of(input)], overwrite)
    given = Given.look_through(input, scored=True)
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.inference.model import TrainedModel
    from d2plm_megatron.scoring.score import Request
    from d2plm_megatron.scoring.score import score as write

    longest = window or found.recipe.data.max_length_residues
    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        write(model, given, Request(draws, seed, pseudo, sort, longest, tokens_per_pack), path)


def mutations(
    checkpoint: CheckpointPath,
    input: Mutants = None,
    wild_type: WildType = None,
    output: Scored = None,
    overwrite: Overwrite = False,
    reference_file: ReferenceFile = None,
    method: Methods = None,
    score_column: ScoreColumn = None,
    offset: Offset = 0,
    heat_map: HeatMap = None,
    draws: ElboDraws = None,
    seed: Seed = 0,
    window: Window = None,
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    tokens_per_pack: TokensPerPack = 8192,
) -> None:
    """Scores mutants of a protein, ranks them against measured values, and draws all single ones as a heat map."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    for name in method or ():
        one_of("--method", name, METHODS)
    longest = window or found.recipe.data.max_length_residues
    work = Work.of(input, wild_type, output, reference_file, score_column, offset, heat_map)
    request = Request(tuple(dict.fromkeys(method or ())), draws, seed, longest, tokens_per_pack)
    told = {**of_model(found), "weights": weights, "precision": precision, **asdict(request), **work.told()}
    work.check(RunFolder(checkpoint).own_files(), told, overwrite)
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.inference.model import TrainedModel
    from d2plm_megatron.scoring.mutations import perform

    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        perform(model, work, request, told, overwrite)


def embed(
    checkpoint: CheckpointPath,
    input: Proteins,
    output: Annotated[Path, typer.Option(help=".safetensors, a tensor by each id, or .parquet, a row by each id")],
    layer: Annotated[int, typer.Option(help="0 for the letters, k for what layer k gives, -1 for the last")] = -1,
    overwrite: Overwrite = False,
    mean: Annotated[bool, typer.Option("--mean", help="over the residues, instead of each")] = False,
    dtype: Annotated[str, typer.Option(help="fp32 or fp16, of what is written")] = "fp32",
    weights: Weights = EMA,
    precision: Precision = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    tokens_per_pack: TokensPerPack = 8192,
) -> None:
    """Writes the hidden states of given proteins, per residue or their mean, in one pass over packs."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    one_of("--dtype", dtype, tuple(embeddings.DTYPES))
    check_suffix(output, embeddings.SUFFIXES)
    model_options = found.recipe.model
    between("--layer", layer, -model_options.num_layers - 1, model_options.num_layers)
    check_outputs([output], [*RunFolder(checkpoint).own_files(), input, *files_of(input)], overwrite)
    given, shape = Given.look_through(input), embeddings.Shape(model_options.hidden_size, mean, dtype)
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.inference.model import TrainedModel
    from d2plm_megatron.scoring.embed import embed as write

    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        write(model, given, layer, shape, output, tokens_per_pack)
        if model.processes.is_main:
            of_each = f"[{'' if mean else 'residues, '}{shape.hidden_size}], {dtype}"
            print(f"{output}: {counted(len(given.ids), 'protein')}, {of_each}")


if __name__ == "__main__":
    run(score, mutations, embed)
