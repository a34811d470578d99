"""Evolution of protein families: substitutions, insertions and deletions along a random tree below one ancestor.

Substitutions. The matrix of Gonnet, Cohen and Benner (Science 256:1443, 1992; Bio.Align.substitution_matrices) gives
s_ij = 10 log10(q_ij / (p_i p_j)) for proteins 250 PAM apart. Its background p is implicit: from sum_j q_ij = p_i
follows O p = 1 with O_ij = 10^(s_ij / 10) (Yu, Wootton and Altschul, PNAS 100:15688, 2003). Then
    P(250) = O diag(p),    Q = log P(250) / 250,    P(t) = exp(t Q)
is a time-reversible Markov process with stationary distribution p, here in units of one expected substitution per site
(100 PAM). The p found this way sums to 0.9995 and P(250) gives s back to 0.004, so the matrix is nothing but this.

Sites differ in rate by a gamma distribution of mean 1 (Yang, J. Mol. Evol. 39:306, 1994): slow sites stay conserved.
The tree is a pure birth (Yule) tree of a given depth, in expected substitutions per site; each branch runs at its own
speed, gamma distributed with mean 1 (a relaxed clock; Drummond et al., PLoS Biol. 4:e88, 2006). Insertions and
deletions are rare, fall on fast sites and have geometric lengths. All randomness comes from the generator passed in.
"""

from dataclasses import dataclass, replace

import numpy as np

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, NUM_CANONICAL

_RATE_SHAPE = 0.7
_CLOCK_SHAPE = 4.0
_INDELS_PER_SUBSTITUTION = 0.015
_MEAN_INDEL_RESIDUES = 2.5
_MAX_DEPTH = 64.0


class Substitutions:
    """The process P(t) = exp(t Q) on the canonical residues, numbered as in CANONICAL_LETTERS; see the module.

    `background` is p, float64 [20].
    """

    def __init__(self) -> None:
        from Bio.Align import substitution_matrices  # slow, and only what simulates reads one

        scores = substitution_matrices.load("GONNET1992")
        odds = np.array([[10 ** (scores[a, b] / 10) for b in CANONICAL_LETTERS] for a in CANONICAL_LETTERS])
        implicit = np.linalg.solve(odds, np.ones(NUM_CANONICAL))
        self.background = implicit / implicit.sum()
        self._root = np.sqrt(self.background)
        # diag(p)^(1/2) Q diag(p)^(-1/2) is symmetric, with the eigenvalues of Q
        eigenvalues, self._modes = np.linalg.eigh(self._root[:, None] * odds * self._root)
        speeds = np.log(eigenvalues / eigenvalues[-1])  # the last belongs to p, which does not change
        self._speeds = speeds / -(self.background @ self._modes**2 @ speeds)

    def probabilities(self, residues: np.ndarray, times: np.ndarray) -> np.ndarray:
        """P(times[i])[residues[i], :], float64 [sites, 20]: what each residue becomes after its own time."""
        decay = np.exp(np.outer(times, self._speeds))
        mixed = (self._modes[residues] * decay) @ self._modes.T
        return np.maximum(mixed * self._root / self._root[residues, None], 0.0)

    def mean_identity(self, residues: np.ndarray, times: np.ndarray) -> float:
        """The expected fraction of sites whose residue is the same after the sites' times."""
        stays = (self._modes[residues] ** 2 * np.exp(np.outer(times, self._speeds))).sum(axis=1)
        return float(stays.mean())


@dataclass(frozen=True)
class Lineage:
    """A protein on its way through the tree.

    Attributes:
        residues: numbers in CANONICAL_LETTERS, int64 [L].
        sites: the position in the ancestor, from 0, that each residue descends from; -1 if it was inserted, int64 [L].
        rates: the relative substitution rate of each site, float64 [L].
        born: when the branch starts, from 0 at the ancestor to 1 at the leaves.
    """

    residues: np.ndarray
    sites: np.ndarray
    rates: np.ndarray
    born: float = 0.0

    @property
    def sequence(self) -> str:
        """The residues as letters."""
        return "".join(CANONICAL_LETTERS[residue] for residue in self.residues)

    def identity(self, ancestor: "Lineage") -> float:
        """The fraction of the ancestor's remaining residues that are unchanged; 0 if none remains."""
        inherited = self.sites >= 0
        same = self.residues[inherited] == ancestor.residues[self.sites[inherited]]
        return float(same.mean()) if same.size else 0.0


def found_family(sequence: str, rng: np.random.Generator) -> Lineage:
    """The ancestor of a family, canonical residues only, with a rate drawn for each site."""
    residues = np.array([CANONICAL_LETTERS.index(letter) for letter in sequence])
    return Lineage(residues, np.arange(len(residues)), _draw_rates(len(residues), rng))


def depth_of_identity(ancestor: Lineage, mean_identity: float, process: Substitutions) -> float:
    """The depth of a tree (expected substitutions per site) whose leaves keep this fraction of the ancestor's residues.

    By bisection on the expectation under a strict clock. Raises ValueError if no depth up to 64 changes that much.
    """
    low, high = 0.0, _MAX_DEPTH
    if process.mean_identity(ancestor.residues, ancestor.rates * high) > mean_identity:
        raise ValueError(f"a mean identity of {mean_identity} is out of reach: too many sites evolve too slowly")
    for _ in range(50):
        middle = (low + high) / 2
        if process.mean_identity(ancestor.residues, ancestor.rates * middle) > mean_identity:
            low = middle
        else:
            high = middle
    return high


def grow_family(
    ancestor: Lineage, num_proteins: int, depth: float, process: Substitutions, rng: np.random.Generator
) -> list[Lineage]:
    """The leaves of a Yule tree of the given depth (expected substitutions per site), `num_proteins` of them."""
    waits = rng.exponential(size=num_proteins) / np.arange(1, num_proteins + 1)
    splits = np.cumsum(waits) / waits.sum()
    lineages = [ancestor]
    for time in splits[:-1]:
        chosen = int(rng.integers(len(lineages)))
        lineages[chosen] = evolve(lineages[chosen], float(time), depth, process, rng)
        lineages.append(lineages[chosen])
    return [evolve(lineage, 1.0, depth, process, rng) for lineage in lineages]


def evolve(lineage: Lineage, until: float, depth: float, process: Substitutions, rng: np.random.Generator) -> Lineage:
    """The lineage after a branch from its birth to time `until`, in a tree of the given depth."""
    distance = (until - lineage.born) * depth * rng.gamma(_CLOCK_SHAPE, 1 / _CLOCK_SHAPE)
    chances = np.cumsum(process.probabilities(lineage.residues, lineage.rates * distance), axis=1)
    draws = rng.random(len(chances)) * chances[:, -1]
    evolved = replace(lineage, residues=(chances[:, :-1] <= draws[:, None]).sum(axis=1), born=until)
    for _ in range(rng.poisson(_INDELS_PER_SUBSTITUTION * distance * len(draws))):
        evolved = _insert(evolved, process, rng) if rng.random() < 0.5 else _delete(evolved, rng)
    return evolved


def _insert(lineage: Lineage, process: Substitutions, rng: np.random.Generator) -> Lineage:
    place, length = _place_and_length(lineage, rng)
    inserted = rng.choice(NUM_CANONICAL, size=length, p=process.background)
    return replace(
        lineage,
        residues=np.insert(lineage.residues, place, inserted),
        sites=np.insert(lineage.sites, place, np.full(length, -1)),
        rates=np.insert(lineage.rates, place, _draw_rates(length, rng)),
    )


def _delete(lineage: Lineage, rng: np.random.Generator) -> Lineage:
    place, length = _place_and_length(lineage, rng)
    if length >= len(lineage.residues):  # a protein keeps at least one residue
        return lineage
    stays = np.ones(len(lineage.residues), dtype=bool)
    stays[place : place + length] = False
    return replace(lineage, residues=lineage.residues[stays], sites=lineage.sites[stays], rates=lineage.rates[stays])


def _place_and_length(lineage: Lineage, rng: np.random.Generator) -> tuple[int, int]:
    place = rng.choice(len(lineage.rates), p=lineage.rates / lineage.rates.sum())
    return int(place), int(rng.geometric(1 / _MEAN_INDEL_RESIDUES))


def _draw_rates(num_sites: int, rng: np.random.Generator) -> np.ndarray:
    return rng.gamma(_RATE_SHAPE, 1 / _RATE_SHAPE, size=num_sites)
