import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import random_proteins
from d2plm_megatron.config import Data
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.corpus import Corpus, counts_before, open_corpora
from d2plm_megatron.data.draws import draw
from d2plm_megatron.data.indexed import IndexedProteins

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64)
weights = st.lists(st.integers(1, 10**6), min_size=1, max_size=6)


@given(weights, st.integers(0, 10**12), st.integers(0, 10**6))
def test_shares_hold_in_any_run_of_draws(some, first, num_draws):
    shares = [Fraction(weight, sum(some)) for weight in some]
    before, after = counts_before(first, shares), counts_before(first + num_draws, shares)
    assert sum(before) == first and sum(after) == first + num_draws
    for share, low, high in zip(shares, before, after, strict=True):
        assert abs(low - first * share) <= Fraction(len(shares), 2)
        assert high - low >= 0
        assert abs(high - low - num_draws * share) <= len(shares)


@settings(max_examples=30)
@given(weights)
def test_every_draw_comes_from_one_corpus(some):
    shares = [Fraction(weight, sum(some)) for weight in some]
    counts = np.array([counts_before(draw, shares) for draw in range(60)])
    steps = np.diff(counts, axis=0)
    assert set(steps.flatten().tolist()) <= {0, 1} and (steps.sum(axis=1) == 1).all()


@pytest.fixture
def proteins(write_proteins) -> IndexedProteins:
    return IndexedProteins(write_proteins([5 + i % 40 for i in range(21)]))


@settings(max_examples=15)
@given(st.integers(0, 200), st.lists(st.integers(0, 40), max_size=8), st.integers(0, 1 << 30))
def test_every_pass_draws_every_protein_once(first, steps, seed):
    """Also when it is read in pieces that end anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(IndexedProteins(random_proteins.write_proteins(Path(folder, "p"), [50] * 21)))
    bounds = first + np.cumsum([0, *steps])
    pieces = [draw(corpus, a, b, seed, OPTIONS) for a, b in pairwise(bounds.tolist())]
    whole = draw(corpus, 0, 63 + int(bounds[-1]), seed, OPTIONS)
    for number in range(3):
        assert sorted(whole.proteins[21 * number : 21 * number + 21]) == list(range(21))
    assert [p for piece in pieces for p in piece.proteins] == whole.proteins[first : bounds[-1]].tolist()
    assert [s for piece in pieces for s in piece.starts] == whole.starts[first : bounds[-1]].tolist()


def test_every_pass_draws_one_member_of_every_cluster(proteins, tmp_path):
    cluster_of = np.arange(21) % 5
    corpus = Corpus(proteins, clusters=Clusters(write_clusters(tmp_path / "p", cluster_of), 21))
    assert len(corpus) == 5
    drawn = draw(corpus, 0, 5 * 100, 7, OPTIONS).proteins.reshape(100, 5)
    assert (np.sort(cluster_of[drawn]) == np.arange(5)).all()
    assert len(np.unique(drawn)) == 21
    assert len(np.unique(np.sort(drawn), axis=0)) > 90  # of some 1000 ways


def test_tokens_of_a_pass(proteins, tmp_path):
    tokens = np.minimum(proteins.checked(np.arange(21))[0], 30) + 2
    assert Corpus(proteins).num_tokens(30) == tokens.sum()
    cluster_of = np.arange(21) % 5
    by_cluster = Corpus(proteins, clusters=Clusters(write_clusters(tmp_path / "p", cluster_of), 21))
    assert by_cluster.num_tokens(30) == pytest.approx(sum(tokens[cluster_of == c].mean() for c in range(5)))


def test_opens_what_the_recipe_names(write_proteins):
    first, second = (write_proteins([4] * num, name=f"corpus{num}") for num in (6, 9))
    file = write_clusters(Path(f"{second}.clusters.npy"), np.arange(9) // 3)
    one, other = open_corpora(Data(train=f"{first}:1 {second}:3", clusters=str(file)))
    assert (len(one), one.share, one.clusters) == (6, Fraction(1, 4), None)
    assert (len(other), len(other.proteins), other.share) == (3, 9, Fraction(3, 4))


def test_one_corpus_has_all_draws(proteins):
    [alone] = open_corpora(Data(train=str(proteins.prefix)))
    assert alone.share == Corpus(proteins).share == 1
