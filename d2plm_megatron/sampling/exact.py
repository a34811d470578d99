"""Exact in each residue: it jumps with the chance of a whole step, to a draw from the posterior.

Noise turns into data at the rate kappa' / (1 - kappa), so that between t and s it does with the chance
(kappa_s - kappa_t) / (1 - kappa_t), whatever the schedule. The path's source says what may jump: masks alone, or any
residue. The posterior is held over the step: that is all that is approximate, and two residues that jump in the same
step are drawn apart. Where nothing jumps, nothing is asked.
"""

from torch import Tensor

from d2plm_megatron.rng import Stream
from d2plm_megatron.sampling.grid import jump_chance
from d2plm_megatron.sampling.step import Step


class Exact:
    """Needs no options."""

    def step(self, here: Step) -> Tensor:
        """Draws at what jumps."""
        chance = jump_chance(here.path, here.t, here.s)
        return here.redrawn(here.candidates_T & (here.uniform(Stream.REVEAL) < chance))
