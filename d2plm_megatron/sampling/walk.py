"""Walking a path from noise to proteins, t = 0 to 1, with any sampler that fits it.

Draws are made in float64: in float32 rounding lowers the entropy of what is generated (arXiv:2407.15595, section 6).
They are keyed by protein, place and step, and what is decided for a protein is decided by itself: so it is the same in
any pack, company and layout, but for what the rounding of the encoder's answers decides.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.objectives.path import MixturePath, Path
from d2plm_megatron.objectives.source import Uniform
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.sampling import options as by_name
from d2plm_megatron.sampling.adaptive import Adaptive
from d2plm_megatron.sampling.bridge import Bridge
from d2plm_megatron.sampling.corrector import Corrector
from d2plm_megatron.sampling.euler import Euler
from d2plm_megatron.sampling.exact import Exact
from d2plm_megatron.sampling.grid import times
from d2plm_megatron.sampling.options import SamplerOptions
from d2plm_megatron.sampling.ordered import Ordered
from d2plm_megatron.sampling.p2 import P2
from d2plm_megatron.sampling.posterior import Denoiser, Posterior, Shape
from d2plm_megatron.sampling.remdm import ReMDM
from d2plm_megatron.sampling.step import Sampler, Step

BUILDERS: dict[type[SamplerOptions], Callable[..., Sampler]] = {
    by_name.Exact: lambda options, path: Exact(),
    by_name.Bridge: lambda options, path: Bridge(),
    by_name.Euler: lambda options, path: Euler(),
    by_name.Confidence: lambda options, path: Ordered(options.name, options.noise),
    by_name.Margin: lambda options, path: Ordered(options.name, options.noise),
    by_name.Entropy: lambda options, path: Ordered(options.name, options.noise),
    by_name.P2: lambda options, path: P2(options.eta),
    by_name.ReMDM: lambda options, path: ReMDM(options.strategy, options.eta),
    by_name.Corrector: lambda options, path: Corrector(path, options.strength),
    by_name.Adaptive: lambda options, path: Adaptive(options.criterion, options.bound),
}
"""From the options of a sampler, and the path, to one for a walk."""


def walk(
    pack: TokenBatch,
    denoiser: Denoiser,
    path: Path,
    options: SamplerOptions,
    rng: KeyedRng,
    *,
    num_steps: int,
    temperature: float,
    conditioned: bool,
    allowed_TV: Tensor | None = None,
    begin: float = 0.0,
) -> tuple[Tensor, float]:
    """Fills the scored tokens of a pack; all others stay. (ids [T], evaluations of the encoder, mean over proteins).

    Args:
        pack: the proteins.
        denoiser: corrupted pack in, logits [T, V] out.
        path: that the encoder was trained along.
        options: the sampler.
        rng: of all that is drawn.
        num_steps: of the walk.
        temperature: that what the model says of a residue is divided by; see sampling/posterior.py.
        conditioned: the encoder sees t, so that its answer ages even when no residue has changed.
        allowed_TV: bool [T, 20] or [T, V], the residues that a token may become; None for all.
        begin: t at which the walk starts, from what the path makes of the pack there: above 0 that is a given protein,
            partly noised.

    Raises ValueError for a sampler that does not fit the path, and a token to which nothing is allowed.
    """
    options = fitting(options, path)
    allowed_TV = _checked(pack, allowed_TV)
    posterior = Posterior(pack, denoiser, path, Shape(options, temperature, allowed_TV), conditioned)
    sampler = BUILDERS[type(options)](options, path)
    tokens_T = _start(pack, path, rng, begin, allowed_TV)
    for number, (t, s) in enumerate(pairwise(times(path, num_steps, begin, options.grid).tolist())):
        tokens_T = sampler.step(Step(number, num_steps, t, s, tokens_T, pack, path, rng, posterior))
    return tokens_T, posterior.evaluations


def fitting(options: SamplerOptions, path: Path) -> SamplerOptions:
    """The sampler that is meant: of AUTO the one that suits the path. Raises ValueError for one that does not fit."""
    if path.has_masks:
        start = by_name.MASK
    elif isinstance(path, MixturePath):
        start = by_name.UNIFORM if isinstance(path.source, Uniform) else by_name.MIXTURE
    else:
        start = by_name.JUMPS
    return by_name.for_path(options, start)


def _checked(pack: TokenBatch, allowed_TV: Tensor | None) -> Tensor | None:
    """[T, 20], with all allowed where nothing is filled."""
    if allowed_TV is None:
        return None
    if allowed_TV.shape[-1] != alphabet.NUM_CANONICAL:
        allowed_TV = allowed_TV[:, alphabet.CANONICAL]
    allowed_TV = allowed_TV | ~pack.scored_T[:, None]
    if not (has_any_T := allowed_TV.any(-1)).all():
        token = int((~has_any_T).nonzero()[0])
        protein, place = int(pack.sample_ids_S[pack.sequence_T[token]]), int(pack.positions_T[token])
        raise ValueError(f"allowed: no residue is left for token {place} of protein {protein}; allow at least one")
    return allowed_TV


def _start(pack: TokenBatch, path: Path, rng: KeyedRng, begin: float, allowed_TV: Tensor | None) -> Tensor:
    """x at `begin`, [T]. With masks, what is there and not allowed is masked, as nothing else would change it."""
    times_S = torch.full_like(pack.stream_index_S, begin, dtype=torch.float64)
    tokens_T = path.sample(pack, times_S, rng)
    if allowed_TV is None or not path.has_masks:
        return tokens_T
    index_T = (tokens_T - alphabet.FIRST_CANONICAL).clamp(0, alphabet.NUM_CANONICAL - 1)
    allowed_T = allowed_TV.gather(-1, index_T[:, None])[:, 0] | (tokens_T == alphabet.MASK)
    return torch.where(allowed_T, tokens_T, alphabet.MASK)
