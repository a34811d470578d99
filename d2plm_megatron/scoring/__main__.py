"""d2plm score|mutations|embed CHECKPOINT --input x.fasta"""

from pathlib import Path
from typing import Annotated

import typer

from d2plm_megatron.config import Parallel, between, one_of
from d2plm_megatron.console import counted, run
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.tables import check_suffix
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import CheckpointPath, Pipeline, Precision, Tensor, Weights, opened
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.scoring import embeddings
from d2plm_megatron.scoring.given import Given

Fasta = Annotated[Path, typer.Option(help="FASTA file of the proteins, plain or compressed")]
TokensPerPack = Annotated[int, typer.Option(min=16, help="tokens that go through the encoder at once")]


def embed(
    checkpoint: CheckpointPath,
    input: Fasta,
    output: Annotated[Path, typer.Option(help=".safetensors, a tensor by each id, or .parquet, a row by each id")],
    layer: Annotated[int, typer.Option(help="0 for the letters, k for what layer k gives, -1 for the last")] = -1,
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
    check_outputs([output], [*RunFolder(checkpoint).own_files(), input])
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
    run(embed)
