"""The ELBO of given proteins, and the differences that mutations make to it, over draws of noise."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.windows import around
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.nll import content_key, nll_by_protein, noise_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.assays import Assay
from d2plm_megatron.scoring.mutants import mutated
from d2plm_megatron.scoring.stream import Part, ask_each

Sums = np.ndarray
"""Of a protein, for each draw, the nats and the residues that they are of, float64 [D, 2]."""


def asking_for_nats(
    model: TrainedModel, num_draws: int, seed: int, key: int | None = None
) -> Callable[[TokenBatch], list[Sums]]:
    """What gives the negative ELBO of each protein of a pack.

    Args:
        model: to ask.
        num_draws: of noise for each protein.
        seed: of the noise.
        key: of the noise, the same for all proteins; None for noise that each has by its residues.
    """
    elbo, noise = model.likelihoods["elbo"], noise_of(seed)
    return lambda pack: list(nll_by_protein(model.logits, elbo, pack, noise, range(num_draws), key))


def elbo_differences(
    model: TrainedModel,
    assay: Assay,
    num_draws: int,
    seed: int,
    longest: int,
    tokens_per_pack: int,
    advance: Callable[[int], object],
) -> Iterator[np.ndarray]:
    """Yields of each mutant the ELBO of the mutant minus that of the wild type, in nats, float64 [D].

    Both have the same noise, so that what they have in common cancels. Of a protein longer than `longest` a window
    around the mutations is compared.
    """
    wild_type = alphabet.encode(assay.wild_type)
    ask = asking_for_nats(model, num_draws, seed, key=content_key(torch.from_numpy(wild_type)))
    of_wild_type: dict[tuple[int, int], np.ndarray] = {}

    def parts() -> Iterator[Part]:
        seen: set[tuple[int, int]] = set()
        for _, mutant in assay.rows():
            place = around([mutation.place for mutation in mutant], len(wild_type), longest)
            key = (place.start, place.stop)
            if key not in seen:
                seen.add(key)
                yield Part.of((key, True), wild_type, place)
            yield Part.of((key, False), alphabet.encode(mutated(assay.wild_type, mutant)), place)

    for (key, is_wild_type), sums in ask_each(model, parts(), ask, tokens_per_pack, advance):
        if is_wild_type:
            of_wild_type[key] = sums[:, 0]
        else:
            yield of_wild_type[key] - sums[:, 0]
