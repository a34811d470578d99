"""Prompts filled by a model: which of them go through it together, and what comes out.

A protein's noise is a function of the seed and of its number alone. So, but for rounding, it is the same in any pack,
on any number of processes, and whatever has been generated before it.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.spread import answers
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.prompt import BLANK, Prompt, prompt_letters
from d2plm_megatron.sampling.config import Samples, SamplingConfig
from d2plm_megatron.sampling.walk import walk

if TYPE_CHECKING:
    from d2plm_megatron.inference.model import TrainedModel

MOST_REFUSED = 100
"""Of one protein, each of which was refused: others will be, too."""

Numbered = tuple[int, Prompt]
"""The number of a protein, from 0, which is the key of its noise, and its prompt."""


@dataclass(frozen=True)
class Filled:
    """A protein.

    Attributes:
        number: as it was given.
        prompt: that was filled.
        letters: canonical residues.
        draws: 1, and one more for each that was refused before.
    """

    number: int
    prompt: Prompt
    letters: str
    draws: int = 1


@dataclass(frozen=True)
class FilledPack:
    """The proteins of a pack, and how often the encoder was asked about each of them, on average."""

    proteins: tuple[Filled, ...]
    nfe: float


@dataclass(frozen=True)
class Filler:
    """How prompts become proteins.

    Args:
        model: to ask.
        config: how to walk, and the seed.
        total: numbers of proteins are below it; a protein that is drawn again has its number and a multiple of this.
        strength: None to fill blanks; or the share of residues of proteins without blanks that are expected to be
            noised before they are generated anew, above 0 and at most 1.
        refused: proteins that are drawn again.
    """

    model: "TrainedModel"
    config: SamplingConfig
    total: int
    strength: float | None = None
    refused: Container[str] = field(default=frozenset())

    def packs(self, prompts: Iterable[Numbered]) -> Iterator[list[Numbered]]:
        """Prompts that go through the encoder together, in order; these are the same for any number of processes."""
        return in_order(prompts, lambda numbered: len(numbered[1].letters) + 2, self.config.tokens_per_pack)

    def fill(
        self, packs: Iterable[Sequence[Numbered]], advance: Callable[[int], object] = lambda proteins: None
    ) -> Iterator[list[FilledPack]]:
        """Fills packs, as many at once as processes share them out; `advance` is told of each that is done here.

        Raises ValueError when all draws of a protein were refused.
        """
        waiting = iter(packs)
        while together := list(islice(waiting, self.model.processes.data_size)):
            by_number = dict(prompt for pack in together for prompt in pack)

            def ask(pack: TokenBatch, by_number: dict[int, Prompt] = by_number) -> FilledPack:
                filled = self._filled([(number, by_number[number]) for number in pack.sample_ids_S.tolist()])
                advance(len(filled.proteins))
                return filled

            yield answers([_packed(pack) for pack in together], ask, self.model.processes)

    def samples(self, prompts: Sequence[Prompt], advance: Callable[[int], object]) -> Samples:
        """All proteins, with what they took; what `fill` does and raises."""
        begin = time.perf_counter()
        found = [pack for packs in self.fill(self.packs(enumerate(prompts)), advance) for pack in packs]
        seconds = time.perf_counter() - begin
        sequences = [protein.letters for pack in found for protein in pack.proteins]
        return Samples(sequences, sum(pack.nfe * len(pack.proteins) for pack in found) / len(sequences), seconds)

    def _filled(self, prompts: Sequence[Numbered]) -> FilledPack:
        """The proteins of a pack, with those that are drawn again."""
        found: dict[int, Filled] = {}
        nfe = 0.0
        for draw in range(MOST_REFUSED):
            missing = [(number, prompt) for number, prompt in prompts if number not in found]
            letters, asked = self._walk([(number + draw * self.total, prompt) for number, prompt in missing])
            nfe += asked * len(missing) / len(prompts)
            for (number, prompt), protein in zip(missing, letters, strict=True):
                if protein not in self.refused:
                    found[number] = Filled(number, prompt, protein, draw + 1)
            if len(found) == len(prompts):
                return FilledPack(tuple(found[number] for number, _ in prompts), nfe)
        number = next(number for number, _ in prompts if number not in found)
        raise ValueError(
            f"protein {number + 1}: all of {MOST_REFUSED} draws are excluded; ask for longer or freer ones"
        )

    def _walk(self, prompts: Sequence[Numbered]) -> tuple[list[str], float]:
        """The letters of each protein, and how often the encoder was asked."""
        pack, path = _packed(prompts).to(self.model.processes.device), self.model.path
        allowed_TV = _allowed(prompts).to(pack.tokens_T.device) if any(p.allowed for _, p in prompts) else None
        begin = 0.0 if self.strength is None else path.time_of_share(self.strength)
        tokens_T, nfe = walk(
            pack,
            self.model.logits,
            path,
            self.config.sampler,
            self.config.noise,
            num_steps=self.config.num_steps,
            temperature=self.config.temperature,
            conditioned=self.model.checkpoint.recipe.model.time_conditioning,
            allowed_TV=allowed_TV,
            begin=begin,
        )
        return [alphabet.decode(ids) for ids in readouts.by_protein(pack, tokens_T)], nfe


def read_prompts(texts: Iterable[str], each: int, strength: float | None) -> list[Prompt]:
    """Prompts as people write them, each so many times: with blanks, or where a strength is given without any.

    Raises ValueError naming a prompt that is none, or a strength that is none.
    """
    if strength is not None and not 0 < strength <= 1:
        raise ValueError(f"strength={strength}: must be above 0, for the same proteins, and at most 1")
    found: list[Prompt] = []
    for number, text in enumerate(texts, start=1):
        letters = prompt_letters(f"prompt {number}", text)
        if (BLANK in letters) == (strength is not None):
            advice = f"leave strength out to fill the blanks ({BLANK})" if strength else f"write {BLANK} for blanks"
            raise ValueError(f"prompt {number}, {text[:20]}: {advice}, or give strength to vary a protein without any")
        found += [Prompt(letters)] * each
    if not found:
        raise ValueError("prompts: there are none; give proteins with blanks, such as MKT____VLA")
    return found


def _packed(prompts: Sequence[Numbered]) -> TokenBatch:
    """One pack of these prompts, whose noise is by their numbers."""
    letters = [prompt.letters for _, prompt in prompts]
    [pack] = pack_sequences(letters, sum(len(each) + 2 for each in letters)).packs
    return replace(pack, sample_ids_S=torch.tensor([number for number, _ in prompts]))


def _allowed(prompts: Sequence[Numbered]) -> Tensor:
    """The residues that may be found at each token, bool [T, 20]."""
    ends = [alphabet.CANONICAL_LETTERS]
    rows = [ends + list(prompt.allowed or ends * len(prompt.letters)) + ends for _, prompt in prompts]
    return torch.stack([_row(letters) for of_protein in rows for letters in of_protein])


@cache
def _row(letters: str) -> Tensor:
    return torch.tensor([letter in letters for letter in alphabet.CANONICAL_LETTERS])
