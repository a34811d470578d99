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
from d2plm_megatron.data.assembly import ScoredTokens, assemble_parts
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.data.sequences import TOKENS_PER_PACK
from d2plm_megatron.data.windows import Window, around, tokens_of
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.spread import answers
from d2plm_megatron.objectives.objective import canonical_log_posterior, log_probability
from d2plm_megatron.proteins import alphabet

if TYPE_CHECKING:
    from d2plm_megatron.inference.model import TrainedModel


def check_reads_masks(model: "TrainedModel") -> None:
    """Raises ValueError for a model that does not."""
    if not model.path.has_masks:
        raise ValueError(
            f"{model.checkpoint.path}: it reads no masks but residues in place of residues, and a pseudo-likelihood "
            "masks each; what can be had of it is the ELBO"
        )


def masked_once(
    model: "TrainedModel",
    proteins: Sequence[np.ndarray],
    longest: int,
    tokens_per_pack: int = TOKENS_PER_PACK,
    advance: Callable[[int], object] = lambda residues: None,
) -> list[np.ndarray]:
    """Of each protein the log probabilities of its canonical residues, each masked alone, float64.

    Every process gets all answers.

    Args:
        model: to ask, which must read masks.
        proteins: ids of their residues.
        longest: residues that the model is shown; of a longer protein those around each residue.
        tokens_per_pack: that go through the model at once, unless a window has more.
        advance: told the number of residues of each pack that is done here.

    Raises ValueError for a model that reads no masks.
    """
    check_reads_masks(model)
    path = model.path

    def ask(pack: TokenBatch) -> np.ndarray:
        masked = replace(pack, tokens_T=pack.tokens_T.masked_fill(pack.scored_T, alphabet.MASK))
        logits_TV = model.logits(readouts.as_it_is(masked, path, None))
        found_T = log_probability(canonical_log_posterior(logits_TV), pack.tokens_T, pack.scored_T)
        advance(len(pack.lengths_S))
        return found_T[pack.scored_T].double().cpu().numpy()

    copies = _Copies.of(proteins, longest, tokens_per_pack)
    found = answers(copies, ask, model.processes)
    return np.split(np.concatenate([np.empty(0), *found]), np.cumsum(copies.of_each))[:-1]


@dataclass(frozen=True)
class _Copies(Sequence[TokenBatch]):
    """Copies of proteins, each with another residue to be scored, in packs that are made when they are asked for.

    Attributes:
        proteins: ids of their residues.
        longest: residues of a copy.
        owners: which of the proteins each copy is of.
        places: the residue that is scored in it.
        bounds: the first copy of each pack, and the one after its last.
    """

    proteins: Sequence[np.ndarray]
    longest: int
    owners: np.ndarray
    places: np.ndarray
    bounds: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, proteins: Sequence[np.ndarray], longest: int, tokens_per_pack: int) -> Self:
        """As many copies of each protein as it has canonical residues."""
        places = [np.flatnonzero(alphabet.is_canonical(residues)) for residues in proteins]
        owners = np.repeat(np.arange(len(proteins)), [*map(len, places)])
        copies = cls(proteins, longest, owners, np.concatenate([np.empty(0, dtype=np.int64), *places]))
        together = in_order(range(len(owners)), copies.num_tokens, tokens_per_pack)
        return replace(copies, bounds=tuple(pairwise(accumulate(map(len, together), initial=0))))

    @property
    def of_each(self) -> np.ndarray:
        """How many there are of each protein, int64 [P]."""
        return np.bincount(self.owners, minlength=len(self.proteins))

    def num_tokens(self, copy: int) -> int:
        """Of a copy, with the ends that it has."""
        residues, seen = len(self.proteins[self.owners[copy]]), self.seen(copy)
        return seen.stop - seen.start + (seen.start == 0) + (seen.stop == residues)

    def seen(self, copy: int) -> slice:
        """The residues of a copy."""
        return around([int(self.places[copy])], len(self.proteins[self.owners[copy]]), self.longest)

    def part(self, copy: int) -> ScoredTokens:
        """The tokens of a copy, and which of them is scored."""
        residues, place, seen = self.proteins[self.owners[copy]], int(self.places[copy]), self.seen(copy)
        tokens, _ = tokens_of(residues, Window(seen.start, seen.stop, seen.start))
        return tokens, np.arange(len(tokens)) == place - seen.start + (seen.start == 0)

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
        return assemble_parts([*map(self.part, range(begin, end))], first=begin)
