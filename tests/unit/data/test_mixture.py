"""The stream of several corpora."""

from collections import Counter
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2plm_megatron.config import Data
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import PackStream, Position

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=20)


@pytest.fixture
def stream(write_proteins, tmp_path) -> PackStream:
    """Three corpora: 0.6 of the draws from 31 proteins, 0.3 from 50 in 9 clusters, 0.1 from 3."""
    large, clustered, small = (
        IndexedProteins(write_proteins([5 + (7 * i + num) % 40 for i in range(num)], num, f"corpus{num}"))
        for num in (31, 50, 3)
    )
    clusters = Clusters(write_clusters(tmp_path / "clustered", np.arange(50) % 9), 50)
    shares = [Fraction(6, 10), Fraction(3, 10), Fraction(1, 10)]
    return PackStream(
        [Corpus(large, shares[0]), Corpus(clustered, shares[1], clusters), Corpus(small, shares[2])], OPTIONS, seed=3
    )


def drawn(stream: PackStream, num_windows: int) -> np.ndarray:
    """(corpus, protein, ordinal) of the first windows, in the order of the stream."""
    packs = [pack for window in range(num_windows) for pack in stream.window(0, window)]
    columns = [np.concatenate([getattr(p, name) for p in packs]) for name in ("corpora", "proteins", "stream_index")]
    return np.stack(columns, axis=1)


def test_every_window_has_the_exact_shares(stream):
    for window in (0, 1, 7, 10**6, 10**12):
        corpora = np.concatenate([pack.corpora for pack in stream.window(0, window)])
        assert np.bincount(corpora).tolist() == [12, 6, 2]


def test_every_batch_has_nearly_the_shares(write_proteins):
    """Of short and of long proteins, which a packer that sorts by length would keep apart."""
    short, long = (
        Corpus(IndexedProteins(write_proteins([low + i % width for i in range(700)], name=f"from{low}")), share)
        for low, width, share in ((40, 41, Fraction(7, 10)), (300, 201, Fraction(3, 10)))
    )
    stream = PackStream([short, long], Data(), seed=0)
    packs = [pack for window in range(3) for pack in stream.window(0, window)]
    batches = [np.concatenate([pack.corpora for pack in packs[first : first + 4]]) for first in range(0, len(packs), 4)]
    shares = [(batch == 0).mean() for batch in batches if len(batch) > 300]
    assert len(shares) > 50
    assert min(shares) > 0.7 - 0.035 and max(shares) < 0.7 + 0.035  # of as many at random, 0.023 is the deviation


def test_every_corpus_goes_through_passes_of_its_own(stream):
    """Windows cut the passes anywhere, and within a window packing changes the order: only counts are certain."""
    draws = drawn(stream, 31)
    counts = Counter(draws[draws[:, 0] == 0, 1].tolist())
    assert counts == dict.fromkeys(range(31), 12)
    clusters = Counter((draws[draws[:, 0] == 1, 1] % 9).tolist())
    assert clusters.keys() == set(range(9)) and max(clusters.values()) - min(clusters.values()) <= 1
    small = Counter(draws[draws[:, 0] == 2, 1].tolist())
    assert small.keys() == set(range(3)) and max(small.values()) - min(small.values()) <= 1
    assert np.array_equal(draws[:, 2], np.arange(len(draws)))


def test_corpora_of_one_size_have_orders_of_their_own(write_proteins):
    proteins = IndexedProteins(write_proteins([9] * 40))
    stream = PackStream([Corpus(proteins, Fraction(1, 2)), Corpus(proteins, Fraction(1, 2))], OPTIONS, seed=0)
    draws = drawn(stream, 4)
    orders = [draws[draws[:, 0] == number, 1] for number in (0, 1)]
    assert (orders[0] != orders[1]).mean() > 0.8


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_starts_anywhere_and_is_the_same_for_any_number_of_ranks(stream, window, num_ranks):
    position = Position(0, window, 1)
    together = list(islice(global_batches(stream, position, 12, 0, 1), 3))
    shares = [list(islice(global_batches(stream, position, 12, rank, num_ranks), 3)) for rank in range(num_ranks)]
    for number, whole in enumerate(together):
        dealt = [share[number].packs for share in shares]
        for place, pack in enumerate(whole.packs):
            assert pack.tokens_T.equal(dealt[place % num_ranks][place // num_ranks].tokens_T)
            assert pack.epoch == 0
    again = next(global_batches(stream, together[0].after, 12, 0, 1))
    assert all(one.tokens_T.equal(other.tokens_T) for one, other in zip(again.packs, together[1].packs, strict=True))
    assert again.after == together[1].after


def test_draws_are_named_as_proteins_of_their_corpora(stream):
    [pack, *_] = stream.window(0, 7)
    for sample, corpus, protein in zip(pack.samples, pack.corpora, pack.proteins, strict=True):
        assert stream.name_of(int(sample)) == f"number {protein} of {stream.sources[corpus].prefix}"
    alone = PackStream(stream.corpora[:1], OPTIONS, seed=3)
    assert alone.name_of(30) == f"number 30 of {stream.sources[0].prefix}"


def test_a_protein_meets_new_noise_each_time(stream):
    samples = [
        pack.sample_ids_S for batch in islice(global_batches(stream, Position(), 10, 0, 1), 30) for pack in batch.packs
    ]
    keys = np.concatenate([sample[sample >= 0] for sample in samples])
    assert len(np.unique(keys)) == len(keys) > 500
