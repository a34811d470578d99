import hashlib
import struct
import tempfile
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.data.slices import Slices
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Polynomial
from d2plm_megatron.objectives.source import Mask
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=10)
PINNED_ORDER = "cb9c675dd95afa47c329b74cccad26d6218aca728307e58a1d42aba23561a57a"


@pytest.fixture
def stream(write_proteins) -> PackStream:
    return PackStream([Corpus(IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(47)])))], OPTIONS, seed=3)


def epoch_of(stream: PackStream, epoch: int) -> list[Slices]:
    return [pack for window in range(stream.num_windows) for pack in stream.window(epoch, window)]


def same(one: Slices, other: Slices) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(1, 70), st.integers(1, 40),
    st.integers(0, 50), st.integers(0, 1 << 30), st.integers(0, 9),
)  # fmt: skip
def test_every_protein_once_per_epoch(lengths, window_proteins, longest, spare, seed, epoch):
    options = Data(max_length_residues=longest, tokens_per_pack=longest + 2 + spare, window_proteins=window_proteins)
    with tempfile.TemporaryDirectory() as folder:
        with IndexedWriter(Path(folder, "p")) as writer:
            for length in lengths:
                writer.add(np.full(length, 5, dtype=np.uint8))
        stream = PackStream([Corpus(IndexedProteins(Path(folder, "p")))], options, seed)
        packs = epoch_of(stream, epoch)
        assert sorted(np.concatenate([pack.proteins for pack in packs])) == list(range(len(lengths)))
        assert np.array_equal(np.concatenate([pack.stream_index for pack in packs]), np.arange(len(lengths)))
        for pack in packs:
            assert 0 < pack.num_tokens.sum() <= options.tokens_per_pack
            whole = np.array(lengths)[pack.proteins]
            assert np.array_equal(pack.num_residues, np.minimum(whole, longest))
            assert (pack.starts >= 0).all() and (pack.starts + pack.num_residues <= whole).all()
            assert np.array_equal(pack.has_begin, pack.starts == 0)
            assert np.array_equal(pack.has_end, pack.starts + pack.num_residues == whole)


def test_restart_anywhere_continues_the_stream(stream):
    run = list(islice(stream.packs_from(Position()), 60))
    assert {epoch for _, epoch, _ in run} >= {0, 1, 2}
    for number, (_, _, after) in enumerate(run[:40]):
        again = list(islice(stream.packs_from(after), 6))
        for (pack, epoch, position), (expected, its_epoch, its_position) in zip(again, run[number + 1 :], strict=False):
            assert same(pack, expected)
            assert (epoch, position) == (its_epoch, its_position)


def test_stream_is_the_epochs_one_after_the_other(stream):
    expected = [pack for epoch in range(3) for pack in epoch_of(stream, epoch)]
    found = [pack for pack, _, _ in islice(stream.packs_from(Position()), len(expected))]
    assert all(map(same, found, expected))


def test_seeds_and_epochs_differ(stream):
    orders = [np.concatenate([pack.proteins for pack in epoch_of(stream, epoch)]) for epoch in range(2)]
    other = PackStream(stream.corpora, OPTIONS, seed=4)
    orders.append(np.concatenate([pack.proteins for pack in epoch_of(other, 0)]))
    assert all((one != two).mean() > 0.8 for i, one in enumerate(orders) for two in orders[:i])


def test_packs_of_a_window_are_shuffled(write_proteins):
    """The last one filled has most room, and short proteins are used up early: training must not see them so."""
    proteins = IndexedProteins(write_proteins([1 + i % 30 for i in range(40)]))
    stream = PackStream(
        [Corpus(proteins)], Data(max_length_residues=30, tokens_per_pack=64, window_proteins=40), seed=0
    )
    epochs = [[int(pack.num_tokens.sum()) for pack in stream.window(epoch, 0)] for epoch in range(300)]
    places = np.bincount([int(np.argmin(tokens)) for tokens in epochs], minlength=10)
    assert len(places) == 10
    assert ((places - 30) ** 2 / 30).sum() < 27.9  # 9 degrees of freedom, p = 0.001


def test_crops_move_between_epochs_and_reach_every_place(write_proteins):
    proteins = IndexedProteins(write_proteins([40]))
    stream = PackStream([Corpus(proteins)], OPTIONS, seed=0)
    starts = [int(epoch_of(stream, epoch)[0].starts[0]) for epoch in range(220)]
    counts = np.bincount(starts, minlength=11)
    assert len(counts) == 11  # 0 to 10
    assert ((counts - 20) ** 2 / 20).sum() < 29.6  # 10 degrees of freedom, p = 0.001


def test_fewer_proteins_than_fill_a_pack(write_proteins):
    stream = PackStream([Corpus(IndexedProteins(write_proteins([3, 4])))], OPTIONS, seed=0)
    run = list(islice(stream.packs_from(Position()), 5))
    assert [epoch for _, epoch, _ in run] == [0, 1, 2, 3, 4]
    for slices, epoch, _ in run:
        assert sorted(slices.proteins) == [0, 1]
        lengths = to_batch(stream.sources, slices, epoch, OPTIONS).lengths_S
        assert sorted(lengths[:2]) == [5, 6] and sum(lengths) == OPTIONS.tokens_per_pack


def test_times_of_a_global_batch_are_stratified(write_proteins):
    """A run of packs holds a run of ordinals, so its times are spread far more evenly than by chance."""
    proteins = IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(900)]))
    options = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=128)
    path, stream = MixturePath(Polynomial(), Mask(), 1e-3), PackStream([Corpus(proteins)], options, seed=1)
    run = [slices for slices, epoch, _ in islice(stream.packs_from(Position()), 240) if epoch == 0]
    assert len(run) == 240
    for first in range(0, 240, 60):  # 60 packs to a global batch; windows end inside of some
        batches = [to_batch([proteins], slices, 0, options) for slices in run[first : first + 60]]
        ordinals = torch.cat([batch.stream_index_S[batch.sample_ids_S >= 0] for batch in batches])
        assert torch.equal(ordinals, ordinals[0] + torch.arange(len(ordinals)))
        times = torch.cat([path.times(batch, KeyedRng(1, 0))[batch.sample_ids_S >= 0] for batch in batches])
        even = (torch.arange(len(times)) + 0.5) / len(times) * (1 - 1e-3)
        assert len(times) > 120
        assert float((times.sort().values - even).abs().max()) * len(times) < 4  # by chance 0.87 sqrt(120) = 9.5


def test_positions_are_those_of_the_packs_after(stream):
    for (_, _, one), (_, _, other) in pairwise(islice(stream.packs_from(Position(1, 2, 1)), 30)):
        assert (other.epoch, other.window, other.pack) > (one.epoch, one.window, one.pack)


def test_order_never_changes(write_proteins):
    """What a position means must outlive a release: runs are continued by newer ones."""
    stream = PackStream([Corpus(IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(470)])))], OPTIONS, 3)
    digest = hashlib.sha256()
    for slices, epoch, after in islice(stream.packs_from(Position(1, 2, 1)), 500):
        digest.update(repr((slices.proteins.tolist(), slices.starts.tolist(), epoch, after)).encode())
    assert digest.hexdigest() == PINNED_ORDER


@pytest.mark.parametrize("tokens_per_pack", [4096, 16384])
def test_packs_are_at_least_99_percent_full(tmp_path, tokens_per_pack):
    """Of proteins with UniRef90's lengths, ends of windows and epochs included."""
    lengths = np.random.default_rng(0).lognormal(5.55, 0.72, 30_000).clip(12, 30_000).astype(int)
    with IndexedWriter(tmp_path / "p") as writer:
        for length in lengths:
            writer.add(np.full(length, 5, dtype=np.uint8))
    stream = PackStream([Corpus(IndexedProteins(tmp_path / "p"))], Data(tokens_per_pack=tokens_per_pack), seed=0)
    packs = epoch_of(stream, 0)
    assert sum(int(pack.num_tokens.sum()) for pack in packs) / (len(packs) * tokens_per_pack) > 0.99


def own_bytes() -> int:
    """Memory of this process without pages of files, which the system takes back when it needs them."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


def test_a_billion_proteins_take_no_memory(tmp_path, monkeypatch):
    """The .idx is sparse, so that its 20 GB are zeros that take no room: proteins of no residues, let pass."""
    monkeypatch.setattr(IndexedProteins, "checked", lambda self, chosen: (np.zeros_like(chosen), chosen))
    num = 10**9 + 7
    with Path(tmp_path, "p.idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 1, num, num + 1))
        for place, value in ((34 + 4 * num - 4, struct.pack("<i", 3)), (34 + 20 * num, struct.pack("<q", num))):
            file.seek(place)
            file.write(value)
    Path(tmp_path, "p.bin").write_bytes(bytes(alphabet.encode("MKT")))
    stream = PackStream([Corpus(IndexedProteins(tmp_path / "p"))], Data(window_proteins=1000), seed=0)
    before = own_bytes()
    seen = [
        pack.proteins for epoch in (0, 7) for window in (0, 500_000, 10**6) for pack in stream.window(epoch, window)
    ]
    numbers = np.concatenate(seen)
    assert len(numbers) == 2 * (1000 + 1000 + 7)
    assert 0 <= numbers.min() < num / 100 and num * 99 / 100 < numbers.max() < num
    of_epoch = numbers[: len(numbers) // 2]
    assert len(np.unique(of_epoch)) == len(of_epoch)
    assert own_bytes() - before < 50e6  # a permutation of a billion would take 8 GB
