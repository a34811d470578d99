"""What the letters of proteins tell: which residues, in which order, in how long proteins, and how repetitive."""

import numpy as np

from d2plm_megatron.evaluation.samples.bootstrap import Interval, interval, of_ratio
from d2plm_megatron.evaluation.samples.summary import divergence
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.composition import entropy
from d2plm_megatron.proteins.low_complexity import low_complexity
from d2plm_megatron.proteins.repeats import in_repeats
from d2plm_megatron.resampling import counts, resamples

ORDERS = (1, 2, 3, 4)
_AT_ONCE = 1024


def ngrams(sequence: str, order: int) -> np.ndarray:
    """The n-grams of canonical residues of a protein as numbers below 20^n, int64, in the order in which they stand."""
    residues = alphabet.encode(sequence).astype(np.int64) - alphabet.FIRST_CANONICAL
    starts = np.arange(max(0, len(residues) - order + 1))
    columns = [residues[starts + place] for place in range(order)]
    words = sum(column * alphabet.NUM_CANONICAL**place for place, column in enumerate(columns))
    canonical = np.all([column < alphabet.NUM_CANONICAL for column in columns], axis=0)
    found: np.ndarray = np.asarray(words)[canonical]
    return found


class Divergences:
    """Jensen-Shannon divergence of the n-grams of proteins from those of a reference, nats: 0 to log(2).

    Of few residues it is above 0 even where nothing differs, the more the longer the n-grams: compare it with that of
    as many residues of natural proteins.
    """

    def __init__(self, reference: list[str]) -> None:
        self._shares = {order: _shares(reference, order) for order in ORDERS}

    def of(self, sequences: list[str]) -> dict[str, Interval]:
        """Of 1- to 4-grams by key, ngram_1_divergence and so on; without one that all are too short for."""
        drawn, found = counts(len(sequences)), {}
        for order, expected in self._shares.items():
            words, owners = _pooled(sequences, order)
            if not len(words) or not expected.any():
                continue
            there, cells = np.unique(words, return_inverse=True)
            # what none of the sequences has counts by its share alone, so that it can be one cell
            natural = np.append(expected[there], 1 - expected[there].sum())
            replicates = [_divergence(cells, times[owners], natural) for times in drawn if times[owners].any()]
            value = _divergence(cells, np.ones(len(words)), natural)
            found[f"ngram_{order}_divergence"] = interval(value, np.array(replicates), len(sequences))
        return found


def _divergence(cells: np.ndarray, weights: np.ndarray, natural: np.ndarray) -> float:
    """Of n-grams that lie in these cells and have these weights from the shares that the cells have in nature."""
    counts = np.bincount(cells, weights, minlength=len(natural))
    return divergence(counts / counts.sum(), natural)


def _pooled(sequences: list[str], order: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of all proteins, and of each the number of its protein."""
    words = [ngrams(sequence, order) for sequence in sequences]
    return np.concatenate(words), np.repeat(np.arange(len(words)), [len(found) for found in words])


def _shares(sequences: list[str], order: int) -> np.ndarray:
    """Of each of the 20^n n-grams, float64; zeros where there is none."""
    counts = np.zeros(alphabet.NUM_CANONICAL**order)
    for begin in range(0, len(sequences), _AT_ONCE):
        counts += np.bincount(_pooled(sequences[begin : begin + _AT_ONCE], order)[0], minlength=len(counts))
    return counts / max(1, counts.sum())


def length_distance(lengths: np.ndarray, reference: np.ndarray) -> Interval:
    """The largest difference between the shares of proteins up to a length (Kolmogorov-Smirnov), 0 to 1."""
    grid = np.union1d(lengths, reference)
    expected = np.searchsorted(np.sort(reference), grid, side="right") / len(reference)
    up_to = lengths[:, None] <= grid
    drawn = counts(len(lengths))
    replicates = np.abs(drawn @ up_to / len(lengths) - expected).max(1)
    return interval(float(np.abs(up_to.mean(0) - expected).max()), replicates, len(lengths))


def repetition(sequences: list[str]) -> dict[str, Interval]:
    """The shares of residues in segments of low complexity and in tandem repeats, by key."""
    lengths = np.array([len(sequence) for sequence in sequences])
    low, repeated = (
        np.array([found(sequence).sum() for sequence in sequences]) for found in (low_complexity, in_repeats)
    )
    return {"low_complexity": of_ratio(low, lengths), "tandem_repeats": of_ratio(repeated, lengths)}


def entropies(sequences: list[str]) -> dict[str, Interval]:
    """Entropy of the residues of all proteins together, and of those of a protein, mean over proteins: nats, by key."""
    ids = [ngrams(sequence, 1) for sequence in sequences]
    residues = np.array([np.bincount(found, minlength=alphabet.NUM_CANONICAL) for found in ids])
    replicates = np.array([_entropy(times @ residues) for times in counts(len(sequences))])
    within = np.array([entropy(sequence) for sequence in sequences])
    token_entropy = interval(_entropy(residues.sum(0)), replicates, len(sequences))
    return {"token_entropy": token_entropy, "entropy_within": of_ratio(within)}


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log(shares)).sum())


def median_length(sequences: list[str]) -> Interval:
    """Residues of the protein in the middle."""
    lengths = np.sort([len(sequence) for sequence in sequences])
    medians = [np.median(lengths[drawn], axis=1) for drawn in resamples(len(lengths))]
    return interval(float(np.median(lengths)), np.concatenate(medians), len(lengths))
