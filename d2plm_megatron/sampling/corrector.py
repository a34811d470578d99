r"""The divergence-free corrector: forward and backward velocities at once (arXiv:2407.15595, sections 2.3 and 3).

If u moves the marginals of a path forward in time and v moves them backward, (1 + b) u - b v moves them forward for any
b(t) >= 0, and what jumps back and forth mends what was drawn apart. Here u is the path's own velocity, v that of
noising, by which the share of data falls as kappa does and the rest is drawn from the source, and

    b(t) = a t^(1/4) (1 - t)^(1/4),    a = sampler.strength.

Both are integrated exactly: a step from t to s goes from t to u = s + b (s - t), at most 1, as `exact` does, and is
noised back, each residue being kept with the chance kappa_s / kappa_u. The last step goes to 1 and stays there.
"""

import torch
from torch import Tensor

from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.grid import jump_chance, kappa_at
from d2plm_megatron.sampling.step import Step


class Corrector:
    """Goes too far, and back.

    Args:
        path: the mixture path, whose source draws what is noised.
        strength: a.
    """

    def __init__(self, path: MixturePath, strength: float) -> None:
        self._source, self._strength = path.source, strength

    def step(self, here: Step) -> Tensor:
        """Draws at what jumps by u, and noises back to s."""
        middle = (here.t + here.s) / 2
        backward = self._strength * (middle * (1 - middle)) ** 0.25
        u = min(1.0, here.s + backward * (here.s - here.t))
        jumps_T = here.candidates_T & (here.uniform(Stream.REVEAL) < jump_chance(here.path, here.t, u))
        tokens_T = here.redrawn(jumps_T)
        if here.is_last or u == here.s:
            return tokens_T
        kept = kappa_at(here.path, here.s) / kappa_at(here.path, u)
        noised_T = here.pack.scored_T & (here.uniform(Stream.CORRUPT) >= kept)
        return torch.where(noised_T, self._source.draw(here.rng, *here.keys, torch.tensor(here.number)), tokens_T)
