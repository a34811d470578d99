import numpy as np
import pytest
from Bio.Align import substitution_matrices

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, NUM_CANONICAL
from data_tools.simulation.evolution import Lineage, Substitutions, depth_of_identity, found_family, grow_family

PROCESS = Substitutions()
EVERY = np.arange(NUM_CANONICAL)
SEQUENCE = CANONICAL_LETTERS * 10


def transition(time: float) -> np.ndarray:
    return PROCESS.probabilities(EVERY, np.full(NUM_CANONICAL, time))


def test_is_a_reversible_markov_process():
    for time in (0.0, 0.1, 1.0, 5.0):
        matrix = transition(time)
        assert np.allclose(matrix.sum(axis=1), 1)
        flow = PROCESS.background[:, None] * matrix
        assert np.allclose(flow, flow.T)
    assert np.allclose(transition(0.0), np.eye(NUM_CANONICAL))
    assert np.allclose(transition(0.3) @ transition(0.9), transition(1.2))
    assert np.allclose(transition(200.0), PROCESS.background)


def test_time_is_substitutions_per_site():
    time = 1e-6
    changed = PROCESS.background @ (1 - np.diag(transition(time)))
    assert changed / time == pytest.approx(1, rel=1e-3)


def test_gives_the_published_scores_back_at_250_pam():
    published = np.array(substitution_matrices.load("GONNET1992").select(CANONICAL_LETTERS))
    scores = 10 * np.log10(transition(2.5) / PROCESS.background)
    assert np.abs(scores - published).max() < 0.01


def test_mean_identity_is_the_diagonal():
    times = np.linspace(0, 2, NUM_CANONICAL)
    expected = np.diag(PROCESS.probabilities(EVERY, times)).mean()
    assert PROCESS.mean_identity(EVERY, times) == pytest.approx(expected)


@pytest.mark.parametrize("target", [0.3, 0.65, 0.9])
def test_families_have_the_identity_asked_for(target):
    identities = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ancestor = found_family(SEQUENCE, rng)
        leaves = grow_family(ancestor, 10, depth_of_identity(ancestor, target, PROCESS), PROCESS, rng)
        identities += [leaf.identity(ancestor) for leaf in leaves]
    assert np.mean(identities) == pytest.approx(target, abs=0.05)


def test_refuses_an_identity_out_of_reach():
    with pytest.raises(ValueError, match="out of reach"):
        depth_of_identity(found_family(SEQUENCE, np.random.default_rng(0)), 0.01, PROCESS)


def test_the_alignment_with_the_ancestor_survives_insertions_and_deletions():
    rng = np.random.default_rng(0)
    ancestor = found_family(SEQUENCE, rng)
    leaves = grow_family(ancestor, 30, 3.0, PROCESS, rng)
    for leaf in leaves:
        inherited = leaf.sites >= 0
        assert np.all(np.diff(leaf.sites[inherited]) > 0)
        assert np.array_equal(leaf.rates[inherited], ancestor.rates[leaf.sites[inherited]])
        assert len(leaf.residues) == len(leaf.sites) == len(leaf.rates) == len(leaf.sequence)
    num_inserted = [(leaf.sites < 0).sum() for leaf in leaves]
    num_deleted = [len(SEQUENCE) - (leaf.sites >= 0).sum() for leaf in leaves]
    assert np.mean(num_inserted) > 5 and np.mean(num_deleted) > 5


def test_identity_leaves_insertions_and_deletions_out():
    ancestor = found_family("MKTVR", np.random.default_rng(0))
    leaf = found_family("MGGTL", np.random.default_rng(0))
    leaf = Lineage(leaf.residues, np.array([0, -1, -1, 2, 4]), leaf.rates)  # K and V deleted, GG inserted, R to L
    assert leaf.identity(ancestor) == pytest.approx(2 / 3)


def test_slow_sites_are_conserved():
    kept_slow, kept_fast = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ancestor = found_family(SEQUENCE, rng)
        (leaf,) = grow_family(ancestor, 1, 1.0, PROCESS, rng)
        kept = on_sites(leaf) == ancestor.residues
        order = np.argsort(ancestor.rates)
        kept_slow.append(kept[order[:50]].mean())
        kept_fast.append(kept[order[-50:]].mean())
    assert np.mean(kept_slow) > 0.9
    assert np.mean(kept_fast) < 0.3


def test_relatives_resemble_each_other_more_than_strangers():
    rng = np.random.default_rng(0)
    ancestor = found_family(SEQUENCE, rng)
    first, second = (
        np.array([on_sites(leaf) for leaf in grow_family(ancestor, 30, 1.5, PROCESS, rng)]) for _ in range(2)
    )
    identity = (first[:, None] == first).mean(axis=2)
    np.fill_diagonal(identity, 0)
    to_strangers = (first[:, None] == second).mean(axis=2)
    assert identity.max(axis=1).mean() > to_strangers.max(axis=1).mean() + 0.1


def on_sites(leaf: Lineage) -> np.ndarray:
    """The residues at the ancestor's positions, -1 where deleted."""
    residues = np.full(len(SEQUENCE), -1)
    inherited = leaf.sites >= 0
    residues[leaf.sites[inherited]] = leaf.residues[inherited]
    return residues
