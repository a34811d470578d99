"""From a trained model and a request to a FASTA file, which grows as proteins are done."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from d2plm_megatron.console import counted, note
from d2plm_megatron.generation.prompts import Uniform
from d2plm_megatron.generation.request import Request
from d2plm_megatron.generation.unfinished import Record, Unfinished
from d2plm_megatron.inference.filling import Filled, FilledPack, Filler, Numbered
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import shared_progress
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.rng import KeyedRng, Stream
from d2plm_megatron.runs.folder import is_checkpoint
from d2plm_megatron.sampling.config import COLD, SamplingConfig
from d2plm_megatron.sampling.walk import fitting

_PERPLEXITY = re.compile(r" perplexity=(\S+)")
_DRAWS = re.compile(r" draws=(\d+)")


@dataclass(frozen=True)
class Generated:
    """What came out.

    Attributes:
        sequences: all proteins of the output, in its order.
        residues: that were generated now, and not before the command was stopped.
        nfe: how often the encoder was asked about each protein, on average.
        seconds: that it took, without loading.
    """

    sequences: list[str]
    residues: int
    nfe: float
    seconds: float


def generate(model: TrainedModel, request: Request, output: Path) -> Generated:
    """Generates the proteins and writes them; those that are there, unfinished, of the same request, are kept.

    Raises ValueError when another process writes there, the sampler does not fit the model, or all draws of a protein
    are excluded.
    """
    _warn(model, request)
    filler = _filler(model, request)
    place = Unfinished(output, request.told())
    kept, packs = _left(filler.packs(_numbered(request, filler.config.noise)), sum(1 for _ in place.records()))
    origin, residues, evaluations = _origin(model, request), 0, 0.0
    begin = time.perf_counter()
    with (
        place.opened(kept) if model.processes.is_main else nullcontext() as writer,
        shared_progress("generating", len(request.prompts) - kept, "proteins", model.processes) as advance,
    ):
        for filled in filler.fill(packs, advance):
            records = _records(model, request, filled, origin)
            residues += sum(len(letters) for _, letters in records)
            evaluations += sum(pack.nfe * len(pack.proteins) for pack in filled)
            if writer:
                writer.add(records)
    seconds = time.perf_counter() - begin
    if model.processes.is_main:
        place.publish(_perplexity if request.rank else None)
    done = _finished(output) if model.processes.is_main else []
    return Generated(done, residues, evaluations / max(1, len(request.prompts) - kept), seconds)


def _warn(model: TrainedModel, request: Request) -> None:
    seen, longest = model.checkpoint.recipe.data.max_length_residues, request.prompts.longest
    if longest > seen and model.processes.is_main:
        note(f"{longest:,} residues were asked for, and training saw proteins of {seen:,} at most")
    if request.temperature < COLD and model.processes.is_main:
        note(
            f"--temperature {request.temperature:g}: nearly always the likeliest residue, so that proteins are repeats"
        )


def _filler(model: TrainedModel, request: Request) -> Filler:
    config = SamplingConfig(
        num_sequences=len(request.prompts),
        shortest=request.prompts.shortest,
        longest=request.prompts.longest,
        num_steps=request.steps,
        temperature=request.temperature,
        seed=request.seed,
        tokens_per_pack=request.tokens_per_pack,
        sampler=fitting(request.sampler, model.path),
    )
    return Filler(model, config, len(request.prompts), request.noised, request.known or frozenset())


def _numbered(request: Request, noise: KeyedRng) -> Iterator[Numbered]:
    """The prompts of all proteins, each drawn when its turn comes."""
    for number in range(len(request.prompts)):
        yield number, request.prompts.prompt(number, _uniform(noise, number))


def _uniform(noise: KeyedRng, number: int) -> Uniform:
    return lambda *keys: float(noise.uniform(Stream.LENGTH, number, *keys))


def _left(packs: Iterator[list[Numbered]], there: int) -> tuple[int, Iterator[list[Numbered]]]:
    """How many proteins of whole packs are there, and the packs that are not."""
    kept = 0
    for pack in packs:
        if kept + len(pack) > there:
            return kept, chain([pack], packs)
        kept += len(pack)
    return kept, iter(())


def _records(model: TrainedModel, request: Request, packs: Sequence[FilledPack], origin: str) -> list[Record]:
    """Header and letters of each protein."""
    proteins = [protein for pack in packs for protein in pack.proteins]
    headers = [_header(request, protein, origin) for protein in proteins]
    letters = [protein.letters for protein in proteins]
    if request.score:
        found = model.perplexity(letters, seed=request.seed, tokens_per_pack=request.tokens_per_pack)
        headers = [f"{header} perplexity={value:.4f}" for header, value in zip(headers, found, strict=True)]
    return list(zip(headers, letters, strict=True))


def _header(request: Request, protein: Filled, origin: str) -> str:
    words = [f"generated_{protein.number + 1:06d}", origin]
    if protein.prompt.origin:
        words.append(protein.prompt.origin)
    if request.noised is not None:
        same = sum(map(str.__eq__, protein.letters, protein.prompt.letters)) / len(protein.letters)
        words.append(f"strength={request.noised:g} identity={same:.3f}")
    if protein.draws > 1:
        words.append(f"draws={protein.draws}")
    return " ".join(words)


def _origin(model: TrainedModel, request: Request) -> str:
    """Where proteins come from, for their headers: all that decides what they are, beside prompts and the machine."""
    checkpoint = model.checkpoint
    path = checkpoint.path.resolve()
    name = quote(path.parent.parent.name if is_checkpoint(path) else path.name)
    return (
        f"checkpoint_step={checkpoint.state['progress']['step']} checkpoint={name} weights={model.weights} "
        f"seed={request.seed} {fitting(request.sampler, model.path)} steps={request.steps} "
        f"temperature={request.temperature:g}"
    )


def _perplexity(record: Record) -> float:
    found = _PERPLEXITY.search(record[0])
    assert found
    return float(found[1])


def _finished(output: Path) -> list[str]:
    """The proteins of the output; says how many were drawn again."""
    records = list(read_records(output))
    again = sum(int(found[1]) - 1 for header, _ in records if (found := _DRAWS.search(header)))
    if again:
        note(f"{counted(again, 'protein')} drawn again, as they were copies of excluded ones")
    return [letters for _, letters in records]
