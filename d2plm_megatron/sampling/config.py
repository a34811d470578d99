"""What is asked of a sampler, and what it gives."""

from dataclasses import dataclass

import torch

from d2plm_megatron.config import at_least
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES
from d2plm_megatron.rng import KeyedRng, Stream, seed_for
from d2plm_megatron.sampling.options import AUTO, SamplerOptions

COLD = 0.3
"""A temperature below which generated proteins degenerate."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """What to generate.

    Attributes:
        num_sequences: how many proteins.
        shortest: residues of a protein, at least.
        longest: at most; lengths in between have even odds.
        num_steps: from noise to protein; more are slower and better.
        temperature: below 1 likelier residues, above 1 more diverse ones.
        seed: the same one gives the same proteins.
        tokens_per_pack: that go through the encoder at once.
        sampler: how it is walked from noise to protein.

    Raises ValueError naming a number that cannot be meant.
    """

    num_sequences: int
    shortest: int
    longest: int
    num_steps: int
    temperature: float
    seed: int
    tokens_per_pack: int
    sampler: SamplerOptions = AUTO

    def __post_init__(self) -> None:
        for key, least in (("num_sequences", 1), ("num_steps", 1), ("temperature", 0.01), ("tokens_per_pack", 16)):
            at_least(key, getattr(self, key), least)
        if not 1 <= self.shortest <= self.longest <= LONGEST_RESIDUES:
            asked = f"{self.shortest}" if self.shortest == self.longest else f"{self.shortest}:{self.longest}"
            raise ValueError(f"length={asked}: least and most residues must lie between 1 and {LONGEST_RESIDUES:,}")

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
class Samples:
    """What came out.

    Attributes:
        sequences: the proteins.
        nfe: number of function evaluations, how often the encoder was asked about a protein, on average.
        seconds: that it took, without loading.
    """

    sequences: list[str]
    nfe: float
    seconds: float
