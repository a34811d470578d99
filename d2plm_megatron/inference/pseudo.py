"""Pseudo-likelihood: how likely each residue is when it alone is masked and all others are seen (arXiv:1910.14659).

Its sum over a protein is no likelihood: each residue is guessed from all the others, which were not known to whoever
wrote the protein from its beginning. So a perplexity made of it is lower than that of the negative ELBO.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Self, overload

import numpy as np

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.data.assembly import assemble_parts
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.data.sequences import TOKENS_PER_PACK, Sequences, pack_sequences
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.spread import answers
from d2plm_megatron.objectives.objective import canonical_log_posterior, log_probability
from d2plm_megatron.proteins import alphabet

if TYPE_CHECKING:
    from d2plm_megatron.inference.model import TrainedModel


def pseudo_log_likelihood(
    model: "TrainedModel",
    sequences: Sequences,
    *,
    tokens_per_pack: int = TOKENS_PER_PACK,
    advance: Callable[[int], object] = lambda residues: None,
) -> list[np.ndarray]:
    """Of each protein the log probability of every residue when it alone is masked, float64 [L], in nats.

    Probabilities are over the 20 canonical residues; at what is none of them, such as X, there is NaN.

    Args:
        model: to ask, which must read masks.
        sequences: the proteins, without masks.
        tokens_per_pack: that go through the model at once.
        advance: told the number of residues of each pack that is done here.

    Raises ValueError for a model that reads no masks, and naming a protein with a mask, or that cannot be packed.
    """
    packed = pack_sequences(sequences, tokens_per_pack)
    readouts.refuse(packed, readouts.masks, readouts.NO_LIKELIHOOD)
    found = masked_once(model, packed.packs, tokens_per_pack, advance)
    scored = [where for pack in packed.packs for where in readouts.by_protein(pack, pack.scored_T)]
    return [_spread_out(values, where) for values, where in zip(found, scored, strict=True)]


def check_reads_masks(model: "TrainedModel") -> None:
    """Raises ValueError for a model that does not."""
    if not model.path.has_masks:
        raise ValueError(
            f"{model.checkpoint.path}: it reads no masks (objective.source=uniform), and a pseudo-likelihood masks "
            "each residue; what can be had of it is the ELBO"
        )


def masked_once(
    model: "TrainedModel",
    packs: Sequence[TokenBatch],
    tokens_per_pack: int = TOKENS_PER_PACK,
    advance: Callable[[int], object] = lambda residues: None,
) -> list[np.ndarray]:
    """Of each protein of the packs the log probabilities of its scored residues, each masked alone, float64.

    See `pseudo_log_likelihood`, which names the arguments. Every process gets all answers.
    """
    check_reads_masks(model)
    path = model.path

    def ask(pack: TokenBatch) -> np.ndarray:
        masked = replace(pack, tokens_T=pack.tokens_T.masked_fill(pack.scored_T, alphabet.MASK))
        logits_TV = model.logits(readouts.as_it_is(masked, path, None))
        found_T = log_probability(canonical_log_posterior(logits_TV), pack.tokens_T, pack.scored_T)
        advance(len(pack.lengths_S))
        return found_T[pack.scored_T].double().cpu().numpy()

    copies = _Copies.of(packs, tokens_per_pack)
    found = answers(copies, ask, model.processes)
    return np.split(np.concatenate([np.empty(0), *found]), np.cumsum(copies.of_each))[:-1]


@dataclass(frozen=True)
class _Copies(Sequence[TokenBatch]):
    """Copies of proteins, each with another residue to be scored, in packs that are made when they are asked for.

    Attributes:
        tokens: of each protein.
        proteins: which one each copy is of.
        places: the token that is scored in it.
        bounds: the first copy of each pack, and the one after its last.
    """

    tokens: list[np.ndarray]
    proteins: np.ndarray
    places: np.ndarray
    bounds: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, packs: Sequence[TokenBatch], tokens_per_pack: int) -> Self:
        """As many copies of each protein of the packs as it has scored residues."""
        tokens = [part.numpy() for pack in packs for part in pack.tokens_T.cpu().split(list(pack.lengths_S))]
        scored = [part.numpy() for pack in packs for part in pack.scored_T.cpu().split(list(pack.lengths_S))]
        proteins = np.repeat(np.arange(len(tokens)), [int(where.sum()) for where in scored])
        places = np.concatenate([np.empty(0, dtype=np.int64), *map(np.flatnonzero, scored)])
        together = in_order(proteins.tolist(), lambda protein: len(tokens[protein]), tokens_per_pack)
        return cls(tokens, proteins, places, tuple(pairwise(accumulate(map(len, together), initial=0))))

    @property
    def of_each(self) -> np.ndarray:
        """How many there are of each protein, int64 [P]."""
        return np.bincount(self.proteins, minlength=len(self.tokens))

    def __len__(self) -> int:
        return len(self.bounds)

    @overload
    def __getitem__(self, which: int) -> TokenBatch: ...
    @overload
    def __getitem__(self, which: slice) -> Self: ...
    def __getitem__(self, which: int | slice) -> TokenBatch | Self:
        if isinstance(which, slice):
            return replace(self, bounds=self.bounds[which])
        begin, end = self.bounds[which]
        tokens = [self.tokens[protein] for protein in self.proteins[begin:end]]
        scored = [np.arange(len(ids)) == place for ids, place in zip(tokens, self.places[begin:end], strict=True)]
        return assemble_parts(list(zip(tokens, scored, strict=True)), first=begin)


def _spread_out(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Values at the places where there are some, NaN elsewhere."""
    everywhere = np.full(len(where), np.nan)
    everywhere[where] = values
    return everywhere
