from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.objectives.objective import Objective
from d2plm_megatron.proteins import alphabet


@pytest.fixture
def exact_mean(masked) -> Callable[..., float]:
    """The loss of one protein without specials, averaged over time and masks.

    exact_mean(objective, model, pack) averages over time, uniform on (0, 1 - epsilon), by Gauss-Legendre quadrature,
    and over masks by going through all of them.
    """

    def mean(objective: Objective, model: Callable[[NoisyBatch], Tensor], pack: TokenBatch) -> float:
        nodes, weights = np.polynomial.legendre.leggauss(10)
        length, total = len(pack.tokens_T), 0.0
        for t, weight in zip((nodes + 1) / 2 * (1 - objective.path.time_epsilon), weights / 2, strict=True):
            kappa = float(objective.path.schedule.kappa(torch.tensor(t, dtype=torch.float64)))
            for count in range(1, length + 1):
                for places in combinations(range(length), count):
                    noisy = masked(pack, places, t)
                    chance = (1 - kappa) ** count * kappa ** (length - count)
                    total += weight * chance * float(objective.loss(model(noisy)[0], noisy).total)
        return total

    return mean


@pytest.fixture(scope="session")
def arbitrary_model() -> Callable[[NoisyBatch], Tensor]:
    """Logits that depend on every token of the pack and its distance; the posterior of nothing in particular."""
    table = torch.randn(8, alphabet.SIZE, alphabet.SIZE, generator=torch.Generator().manual_seed(11))

    def logits(noisy: NoisyBatch) -> Tensor:
        place = torch.arange(len(noisy.tokens_T))
        return table[(place[:, None] - place) % 8, noisy.tokens_T].sum(1)[None]

    return logits
