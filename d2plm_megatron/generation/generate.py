"""From a checkpoint and a request to a FASTA file."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from d2plm_megatron.config import Parallel
from d2plm_megatron.console import note, progress
from d2plm_megatron.files import write_text
from d2plm_megatron.generation.sampler import Sampler, blank_pack
from d2plm_megatron.inference.encoders import load_encoder
from d2plm_megatron.objectives import build_process
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng, Stream, seed_for
from d2plm_megatron.runs.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to generate; see the options of the command."""

    num_sequences: int
    shortest: int
    longest: int
    num_steps: int
    temperature: float
    seed: int
    weights: str
    precision: str
    tokens_per_pack: int

    @property
    def noise(self) -> KeyedRng:
        """Of all that is drawn for it."""
        return KeyedRng(seed_for(Stream.GENERATE, self.seed), 0)

    def lengths(self) -> list[int]:
        """Residues of each protein."""
        span = self.longest - self.shortest + 1
        extra = self.noise.integers(Stream.LENGTH, span, torch.arange(self.num_sequences))
        return (self.shortest + extra).tolist()


@dataclass(frozen=True)
class Generated:
    """What came out.

    Attributes:
        sequences: the proteins.
        num_evaluations: of the encoder, per pack on average.
        seconds: that it took, without loading.
        path: of the FASTA file.
    """

    sequences: list[str]
    num_evaluations: float
    seconds: float
    path: Path


def generate(checkpoint: Checkpoint, request: Request, output: Path) -> Generated:
    """Generates the proteins and writes them, one process on the device that is here."""
    seen = checkpoint.recipe.data.max_length_residues
    if request.longest > seen:
        note(f"{request.longest:,} residues were asked for, and training saw proteins of {seen:,} at most")
    sequences: list[str] = []
    num_evaluations, packs = 0, list(_packs(request.lengths(), request.tokens_per_pack))
    with parallel_context(Parallel()) as processes, torch.inference_mode():
        encoder = load_encoder(checkpoint, request.weights, request.precision, processes.device)
        sampler = _sampler(checkpoint, request)
        begin = time.perf_counter()
        with progress("generating", request.num_sequences, "proteins") as advance:
            for first, lengths in packs:
                pack = blank_pack(lengths, first, processes.device)
                tokens_T, evaluations = sampler.sample(pack, encoder, request.noise)
                num_evaluations += evaluations
                sequences += _letters(tokens_T, pack.lengths_S)
                advance(len(lengths))
        seconds = time.perf_counter() - begin
    origin = _origin(checkpoint, request)
    write_text(output, "".join(f">generated_{i + 1:06d} {origin}\n{s}\n" for i, s in enumerate(sequences)))
    return Generated(sequences, num_evaluations / len(packs), seconds, output)


def _sampler(checkpoint: Checkpoint, request: Request) -> Sampler:
    recipe = checkpoint.recipe
    path = build_process(recipe.objective).path
    return Sampler(path, request.num_steps, request.temperature, recipe.model.time_conditioning)


def _origin(checkpoint: Checkpoint, request: Request) -> str:
    """Where proteins come from, for their headers: all that decides what they are, beside the machine."""
    return (
        f"checkpoint_step={checkpoint.state['progress']['step']} weights={request.weights} seed={request.seed} "
        f"sampler=exact steps={request.num_steps} temperature={request.temperature:g}"
    )


def _packs(lengths: list[int], tokens_per_pack: int) -> Iterator[tuple[int, list[int]]]:
    """(number of the first protein, lengths) of runs of proteins that fit into a pack, at least one each."""
    pack: list[int] = []
    first = used = 0
    for number, length in enumerate(lengths):
        if pack and used + length + 2 > tokens_per_pack:
            yield first, pack
            first, pack, used = number, [], 0
        pack.append(length)
        used += length + 2
    yield first, pack


def _letters(tokens_T: torch.Tensor, lengths_S: tuple[int, ...]) -> list[str]:
    """The proteins of a pack, without end tokens."""
    return [alphabet.decode(part[1:-1].cpu().numpy()) for part in tokens_T.split(list(lengths_S))]
