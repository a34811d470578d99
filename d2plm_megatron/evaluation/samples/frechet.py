"""The Fréchet distance of two Gaussians (Dowson and Landau 1982; of embeddings, Heusel et al., arXiv:1706.08500).

    d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

of the means and covariances of embeddings, without shrinkage. Few proteins give covariances of low rank, and a distance
above 0 where nothing differs: compare it with that of as many natural proteins.
"""

import numpy as np

from d2plm_megatron.evaluation.samples.bootstrap import Interval, interval
from d2plm_megatron.resampling import resamples

FEWEST = 16
"""Proteins of a column below which no distance is measured."""

_RESAMPLES = 50


def frechet_distance(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray
) -> float:
    """d^2 of two Gaussians of H dimensions: means [H], covariances [H, H]; in float64."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    inner = np.linalg.eigvalsh(root @ other_covariance @ root)
    traces = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(inner.clip(0)).sum()
    return float(((mean - other_mean) ** 2).sum() + traces)


def distance_of(embeddings: np.ndarray, reference: np.ndarray) -> Interval:
    """d^2 between embeddings of proteins, [n, H] and [m, H], with the interval over the n."""
    n = len(embeddings)
    points, others = embeddings.astype(np.float64), moments(reference.astype(np.float64))
    resampled = (points[drawn] for some in resamples(n, _RESAMPLES) for drawn in some)
    replicates = [frechet_distance(*moments(drawn), *others) for drawn in resampled]
    return interval(frechet_distance(*moments(points), *others), np.array(replicates), n)


def moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [H] and unbiased covariance [H, H] of points [n, H], of which there are at least two."""
    return points.mean(0), np.atleast_2d(np.cov(points, rowvar=False))
