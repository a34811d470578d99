"""What the package's sampling is compared with: the same walk as a textbook writes it, with the same model."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.inference.readouts import as_it_is
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.proteins import alphabet

Model = Callable[[NoisyBatch], Tensor]


def at_every_step(pack: TokenBatch, model: Model, path: Path, num_steps: int, seed: int) -> tuple[Tensor, float]:
    """The exact walk from masks, even in the share of data, and the network at every step; (ids, evaluations)."""
    generator = torch.Generator().manual_seed(seed)
    tokens_T = torch.where(pack.scored_T, alphabet.MASK, pack.tokens_T)
    for t, s in pairwise(torch.linspace(0, 1, num_steps + 1, dtype=torch.float64).tolist()):
        drawn_T = _drawn(_probabilities(pack, tokens_T, model, path), generator)
        jumps_T = torch.rand(len(tokens_T), generator=generator, dtype=torch.float64) < (s - t) / (1 - t)
        tokens_T = torch.where((tokens_T == alphabet.MASK) & (jumps_T | (s == 1)), drawn_T, tokens_T)
    return tokens_T, num_steps


def one_residue_a_step(pack: TokenBatch, model: Model, path: Path, num_steps: int, seed: int) -> tuple[Tensor, float]:
    """Iterative decoding as it is written for masked language models: of one protein, a mask drawn after the other.

    Args:
        pack: of one protein.
        model: corrupted pack in, logits [T, V] out.
        path: from masks, which tells the time of as many masks.
        num_steps: unused, as there is a step for each residue.
        seed: of the order and the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens_T = torch.where(pack.scored_T, alphabet.MASK, pack.tokens_T)
    places = pack.scored_T.nonzero()[:, 0]
    for number in torch.randperm(len(places), generator=generator).tolist():
        place = places[number]
        tokens_T[place] = _drawn(_probabilities(pack, tokens_T, model, path)[place : place + 1], generator)[0]
    return tokens_T, len(places)


def _probabilities(pack: TokenBatch, tokens_T: Tensor, model: Model, path: Path) -> Tensor:
    noisy = as_it_is(replace(pack, tokens_T=tokens_T), path, time=None)
    return model(noisy)[:, alphabet.CANONICAL].double().softmax(-1)


def _drawn(probabilities_TV: Tensor, generator: torch.Generator) -> Tensor:
    return alphabet.FIRST_CANONICAL + torch.multinomial(probabilities_TV, 1, generator=generator)[:, 0]
