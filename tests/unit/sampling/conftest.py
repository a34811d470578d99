"""Packs to be filled, and a walk with an encoder that is known exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.objectives.path import MixturePath, Path
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.sampling.options import sampler_options
from d2plm_megatron.sampling.walk import walk


@dataclass(frozen=True)
class Walks:
    """walks(pack, denoiser, 8, "sampler=p2") walks a pack in 8 steps."""

    seed: int = 3

    def __call__(
        self, pack: TokenBatch, denoiser: Callable[[NoisyBatch], Tensor], num_steps: int, *overrides: str,
        schedule: str = "linear", source: str = "mask", path: Path | None = None, temperature: float = 1.0, **options,
    ) -> tuple[Tensor, float]:  # fmt: skip
        path = path or MixturePath(build_schedule(schedule), SOURCES[source], 1e-5)
        options = {"conditioned": not path.has_masks, **options}
        rng, sampler = KeyedRng(self.seed, epoch=0), sampler_options(overrides)
        return walk(pack, denoiser, path, sampler, rng, num_steps=num_steps, temperature=temperature, **options)


@pytest.fixture(scope="session")
def walks() -> Walks:
    return Walks()


@pytest.fixture(scope="session")
def blank_pack() -> Callable[..., TokenBatch]:
    """Proteins that are all to be filled: blank_pack([5, 7], 100) has sample ids from 100 on."""

    def make(lengths: list[int], first_sample: int = 0) -> TokenBatch:
        [pack] = pack_sequences(lengths, sum(lengths) + 2 * len(lengths)).packs
        samples_S = pack.sample_ids_S + first_sample
        return replace(pack, sample_ids_S=samples_S, stream_index_S=samples_S)

    return make


@pytest.fixture(scope="session")
def bare_pack(blank_pack) -> Callable[[int, int], TokenBatch]:
    """Proteins without end tokens, all to be filled: bare_pack(1000, 2) has a thousand pairs of residues."""

    def make(number: int, length: int) -> TokenBatch:
        pack = blank_pack([length] * number)
        inside = pack.scored_T
        return replace(
            pack,
            tokens_T=pack.tokens_T[inside],
            positions_T=pack.positions_T[inside],
            sequence_T=pack.sequence_T[inside],
            scored_T=pack.scored_T[inside],
            lengths_S=(length,) * number,
        )

    return make


@pytest.fixture(scope="session")
def context() -> Callable[[NoisyBatch], Tensor]:
    """Logits that depend on every token of the protein: by a hash of its ids and places."""

    def logits(noisy: NoisyBatch) -> Tensor:
        rng, tokens_T, place_T = KeyedRng(9, 0), noisy.tokens_T, noisy.clean.positions_T
        zeros_S = torch.zeros_like(noisy.clean.stream_index_S)
        sums_S = zeros_S.index_add(0, noisy.clean.sequence_T, (place_T + 1) * tokens_T)
        return 8 * rng.uniform(1, sums_S[noisy.clean.sequence_T][:, None], place_T[:, None], torch.arange(33))

    return logits


@pytest.fixture(scope="session")
def constant() -> Callable[[NoisyBatch], Tensor]:
    """Every place is L, A, G or V with .4, .3, .2, .1, whatever the others are."""

    def logits(noisy: NoisyBatch) -> Tensor:
        logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
        logits_TV[:, 4:8] = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
        return logits_TV

    return logits
