"""N-grams of proteins: how likely each residue is given the n - 1 letters before it, as a hierarchical Dirichlet model.

    p_n(x | h) = (c(hx) + s_n p_(n-1)(x | h')) / (c(h) + s_n),    p_0 = 1/20

c counts in the training proteins; h' is the context h without its first letter (MacKay and Peto, Natural Language
Engineering 1:289, 1995). A residue tells little about the next ones, so that the strengths s_n that serve are in the
hundreds, far from what rules made for text give. s_1 is 1. Each other is chosen on every tenth protein, with counts
from the rest: by the mean over that half of the tenth which is predicted worst, because a tenth of redundant proteins
has relatives in the rest, as held-out proteins do not, and the mean over all of it asks for strengths too small.

The 20 canonical residues are predicted, and no end: lengths are given. A context may hold the begin of a protein, too,
and has one sign for all other letters.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from d2plm_megatron.proteins.alphabet import FIRST_CANONICAL, NUM_CANONICAL

LONGEST = 5
STRENGTHS = tuple(2.0 ** (half / 2) for half in range(32, -9, -1))
"""What is chosen from; the first, which smooths most, where none is better."""

_OTHER, _BEGIN = NUM_CANONICAL, NUM_CANONICAL + 1
_NUM_SIGNS = NUM_CANONICAL + 2
_TENTH = 10
_RESIDUES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class _Places:
    """Canonical residues in their places: code of the context, residue and number of the protein, int64 [n] each."""

    contexts: np.ndarray
    residues: np.ndarray
    owners: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "_Places":
        return _Places(self.contexts[chosen], self.residues[chosen], self.owners[chosen])


@dataclass(frozen=True)
class NGrams:
    """N-grams of all orders up to one, fitted to proteins.

    Attributes:
        counts: of each order n, int64 [22^(n-1), 20]: of each context, in the row that its signs spell in base 22, and
            of each residue after it.
        strengths: s_n of each order, in residues.
    """

    counts: tuple[np.ndarray, ...]
    strengths: tuple[float, ...]

    @classmethod
    def fit(cls, proteins: Iterable[np.ndarray], order: int) -> "NGrams":
        """Fits n-grams to proteins given as ids, uint8 [L] each; they are read once.

        Raises ValueError unless the order is 1 to 5, and when the proteins hold no canonical residue.
        """
        if not 1 <= order <= LONGEST:
            raise ValueError(f"n-grams of order {order}: expected 1 to {LONGEST}")
        counts, tenth = _count(_places([], 0, order), order), [_places([], 0, order)]
        for first, some in _batches(proteins):
            places = _places(some, first, order)
            in_tenth = places.owners % _TENTH == 0
            counts += _count(places[~in_tenth], order)
            tenth.append(places[in_tenth])
        held_out = _Places(
            *(np.concatenate(parts) for parts in zip(*(vars(own).values() for own in tenth), strict=True))
        )
        strengths = _choose_strengths(_of_all_orders(counts), held_out)
        counts += _count(held_out, order)
        if not counts.any():
            raise ValueError("no canonical residue in these proteins, so they have no n-grams")
        return cls(_of_all_orders(counts), strengths)

    @property
    def order(self) -> int:
        """The highest order, n."""
        return len(self.counts)

    def nats(self, residues: np.ndarray) -> np.ndarray:
        """-ln p_n of each residue of a protein given those before it, float64 [L]; 0 for letters never predicted.

        `residues` are ids, uint8 [L]. The mean is over the canonical ones.
        """
        found: np.ndarray = self.nats_of_orders(residues)[-1]
        return found

    def nats_of_orders(self, residues: np.ndarray) -> np.ndarray:
        """What `nats` says for each order from 1 to n: float64 [n, L]."""
        places = _places([residues], 0, self.order)
        found = np.zeros((self.order, len(residues)))
        predicted, probabilities = _signs(residues) < NUM_CANONICAL, _before_any_order(places)
        for own, counts, totals, strength in zip(found, self.counts, self._totals, self.strengths, strict=True):
            probabilities = _refined(probabilities, *_looked_up(counts, totals, places), strength)
            own[predicted] = -np.log(probabilities)
        return found

    def distributions(self, residues: np.ndarray) -> np.ndarray:
        """p_n of all 20 residues where a canonical one is, given those before it, for each order: float64 [n, P, 20].

        `residues` are ids, uint8 [L]; P of them are canonical.
        """
        places = _places([residues], 0, self.order)
        found, lower = np.empty((self.order, len(places.residues), NUM_CANONICAL)), _before_any_order(places)[:, None]
        for own, counts, totals, strength in zip(found, self.counts, self._totals, self.strengths, strict=True):
            rows = places.contexts % len(counts)
            own[:] = lower = _refined(lower, counts[rows], totals[rows, None], strength)
        return found

    @cached_property
    def _totals(self) -> tuple[np.ndarray, ...]:
        return tuple(counts.sum(axis=1) for counts in self.counts)


def _batches(proteins: Iterable[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields proteins some million residues at a time, and the number of the first of them."""
    first, size, some = 0, 0, list[np.ndarray]()
    for protein in proteins:
        some.append(protein)
        size += len(protein)
        if size >= _RESIDUES_AT_ONCE:
            yield first, some
            first, size, some = first + len(some), 0, []
    yield first, some


def _signs(residues: np.ndarray) -> np.ndarray:
    """Signs of contexts, int64: canonical residues from 0 on, then other letters."""
    numbers = residues.astype(np.int64) - FIRST_CANONICAL
    return np.where((numbers >= 0) & (numbers < NUM_CANONICAL), numbers, _OTHER)


def _places(proteins: Sequence[np.ndarray], first: int, order: int) -> _Places:
    """All canonical residues of proteins, the first of which has this number, with contexts of order - 1 signs."""
    begin = np.full(order - 1, _BEGIN, dtype=np.int64)
    signs = np.concatenate([begin[:0], *(part for protein in proteins for part in (begin, _signs(protein)))])
    owners = first + np.arange(len(proteins)).repeat([len(begin) + len(protein) for protein in proteins])
    contexts = np.zeros_like(signs)
    for back in range(1, order):
        contexts[back:] += signs[:-back] * _NUM_SIGNS ** (back - 1)
    return _Places(contexts, signs, owners)[signs < NUM_CANONICAL]


def _count(places: _Places, order: int) -> np.ndarray:
    """How often each residue follows each context, int64 [22^(order-1), 20]."""
    num_contexts = _NUM_SIGNS ** (order - 1)
    codes = places.contexts * NUM_CANONICAL + places.residues
    return np.bincount(codes, minlength=num_contexts * NUM_CANONICAL).reshape(num_contexts, NUM_CANONICAL)


def _of_all_orders(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The counts of order 1, 2 and so on up to these, which are sums of them: a context's first sign counts most."""
    orders = [counts]
    while len(orders[0]) > 1:
        orders.insert(0, orders[0].reshape(_NUM_SIGNS, -1, NUM_CANONICAL).sum(axis=0))
    return tuple(orders)


def _looked_up(counts: np.ndarray, totals: np.ndarray, places: _Places) -> tuple[np.ndarray, np.ndarray]:
    """c(hx) and c(h) of each place, int64 [n]."""
    rows = places.contexts % len(counts)
    return counts[rows, places.residues], totals[rows]


def _before_any_order(places: _Places) -> np.ndarray:
    return np.full(len(places.residues), 1 / NUM_CANONICAL)


def _refined(lower: np.ndarray, counts: np.ndarray, totals: np.ndarray, strength: float) -> np.ndarray:
    """p_n from p_(n-1), float64 [n]: the formula."""
    return (counts + strength * lower) / (totals + strength)


def _choose_strengths(orders: tuple[np.ndarray, ...], held_out: _Places) -> tuple[float, ...]:
    """1, and of each higher order the strength that predicts these places best, given those of the orders below."""
    _, owners = np.unique(held_out.owners, return_inverse=True)
    chosen, probabilities = list[float](), _before_any_order(held_out)
    for counts in orders:
        seen = _looked_up(counts, counts.sum(axis=1), held_out)
        allowed = STRENGTHS if chosen else (1.0,)
        tried = [_of_worse_half(_refined(probabilities, *seen, strength), owners) for strength in allowed]
        chosen.append(allowed[int(np.argmin(tried))])
        probabilities = _refined(probabilities, *seen, chosen[-1])
    return tuple(chosen)


def _of_worse_half(probabilities: np.ndarray, owners: np.ndarray) -> float:
    """Nats per residue, averaged over that half of the proteins (one at least) for which they are most; 0 of none."""
    per_protein = np.sort(np.bincount(owners, -np.log(probabilities)) / np.bincount(owners))
    return float(per_protein[len(per_protein) // 2 :].mean()) if len(per_protein) else 0.0
