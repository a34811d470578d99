"""d2plm generate RUN [sampler=NAME ...] --num-sequences 64 --length 100:200"""

from pathlib import Path

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import run
from d2plm_megatron.files import check_outputs
from d2plm_megatron.generation import options
from d2plm_megatron.generation.request import Request
from d2plm_megatron.generation.unfinished import Unfinished
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.options import (
    CheckpointPath,
    Overwrite,
    Pipeline,
    Precision,
    Seed,
    Tensor,
    TokensPerPack,
    Weights,
    opened,
)
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.sampling.options import sampler_options


def main(
    checkpoint: CheckpointPath, sampler: options.Sampler = None,
    output: options.Output = None, overwrite: Overwrite = False,
    num_sequences: options.NumSequences = 64, length: options.Length = None,
    template: options.Template = None,
    motif: options.MotifFile = None, contigs: options.Contigs = None, total_length: options.TotalLength = None,
    start: options.Start = None, strength: options.Strength = None,
    residues: options.Residues = None, forbid: options.Forbid = "",
    exclude: options.Exclude = None,
    steps: options.Steps = 64, temperature: options.Temperature = 1.0, seed: Seed = 0,
    score: options.Score = False, rank: options.Rank = False,
    weights: Weights = EMA, precision: Precision = None, tensor: Tensor = 1, pipeline: Pipeline = 1,
    tokens_per_pack: TokensPerPack = 8192,
) -> None:  # fmt: skip
    """Generates proteins with a trained encoder and writes them as FASTA, canonical residues only."""
    found, parallel = opened(checkpoint, weights, precision), Parallel(tensor=tensor, pipeline=pipeline)
    request = Request(
        checkpoint=found, sampler=sampler_options(sampler or ()), weights=weights, precision=precision,
        num_sequences=num_sequences, length=length, template=tuple(template or ()), motif=motif, contigs=contigs,
        total_length=total_length, start=start, strength=strength, residues=residues, forbid=forbid,
        exclude=tuple(exclude or ()), steps=steps, temperature=temperature, seed=seed, score=score or rank, rank=rank,
        tokens_per_pack=tokens_per_pack,
    )  # fmt: skip
    path = output or RunFolder(checkpoint).samples
    _check(request, checkpoint, path, overwrite)
    # With torch, which takes seconds that nobody should wait for who has mistyped something.
    from d2plm_megatron.generation.generate import generate
    from d2plm_megatron.generation.summary import print_summary
    from d2plm_megatron.inference.model import TrainedModel

    with TrainedModel.open(found, weights, precision, parallel=parallel) as model:
        done = generate(model, request, path)
        if model.processes.is_main:
            print_summary(done, path)


def _check(request: Request, checkpoint: Path, path: Path, overwrite: bool) -> None:
    """Raises ValueError or OSError for a request that cannot be met, and an output that would replace what is there."""
    check_outputs([path], [*RunFolder(checkpoint).own_files(), *request.files()], overwrite)
    _ = request.prompts, request.known
    unfinished = Unfinished(path, request.told())
    if not overwrite and (differ := unfinished.differ()):
        raise ValueError(
            f"{unfinished.path}: begun by another request ({differ}); repeat that one to finish it, or give --overwrite"
        )


if __name__ == "__main__":
    run(main)
