import tempfile
from dataclasses import fields
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2plm_megatron import alphabet
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins, IndexedWriter
from d2plm_megatron.data.slices import Slices
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.noise import Noise
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Polynomial

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=10)


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
        assert np.array_equal(np.concatenate([pack.ordinals for pack in packs]), np.arange(len(lengths)))
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
    """Best fit makes the fullest packs of the longest proteins first; training must not see them in this order."""
    proteins = IndexedProteins(write_proteins([1 + i % 30 for i in range(400)]))
    stream = PackStream(
        [Corpus(proteins)], Data(max_length_residues=30, tokens_per_pack=64, window_proteins=400), seed=0
    )
    packs = stream.window(0, 0)
    longest = torch.tensor([int(pack.num_residues.max()) for pack in packs], dtype=torch.float64)
    correlation = torch.corrcoef(torch.stack([longest, torch.arange(len(packs)).double()]))[0, 1]
    assert abs(float(correlation)) < 4 / len(packs) ** 0.5


def test_crops_move_between_epochs_and_reach_every_place(write_proteins):
    proteins = IndexedProteins(write_proteins([40]))
    stream = PackStream([Corpus(proteins)], OPTIONS, seed=0)
    starts = [int(epoch_of(stream, epoch)[0].starts[0]) for epoch in range(220)]
    counts = np.bincount(starts, minlength=11)
    assert len(counts) == 11  # 0 to 10
    assert ((counts - 20) ** 2 / 20).sum() < 29.6  # 10 degrees of freedom, p = 0.001


def test_batch_holds_the_residues_with_end_tokens_at_true_ends_only(stream):
    kinds = set()
    for slices in epoch_of(stream, 0):
        batch = to_batch(stream.sources, slices, 5, OPTIONS)
        parts = batch.tokens_T.split(list(batch.lengths_S))
        for number, protein in enumerate(slices.proteins):
            whole, start = stream.sources[0][int(protein)].tolist(), int(slices.starts[number])
            stop = start + int(slices.num_residues[number])
            begin = [alphabet.CLS] if start == 0 else []
            end = [alphabet.EOS] if stop == len(whole) else []
            assert parts[number].tolist() == [*begin, *whole[start:stop], *end]
            kinds.add((bool(begin), bool(end)))
        assert batch.epoch == 5
        assert batch.sample_ids_S.tolist()[: len(slices.proteins)] == slices.proteins.tolist()
        assert batch.ordinals_S.tolist()[: len(slices.proteins)] == slices.ordinals.tolist()
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}


def check_invariants(batch: TokenBatch, num_real: int) -> None:
    lengths = torch.tensor(batch.lengths_S)
    assert lengths.sum() == OPTIONS.tokens_per_pack == len(batch.tokens_T)
    assert (lengths > 0).all() and lengths.max() <= OPTIONS.max_length_residues + 2
    expected = torch.cat([torch.arange(length) for length in batch.lengths_S])
    assert torch.equal(batch.positions_T, expected)
    assert torch.equal(batch.sequence_T, torch.arange(len(lengths)).repeat_interleave(lengths))
    is_tail_T = batch.sequence_T >= num_real
    assert torch.equal(batch.tokens_T == alphabet.PAD, is_tail_T)
    assert not (batch.scored_T & is_tail_T).any()
    assert len(batch.sample_ids_S) == len(batch.ordinals_S) == len(lengths)
    assert (batch.sample_ids_S[num_real:] == -1).all()
    integers = [f.name for f in fields(batch) if getattr(getattr(batch, f.name), "dtype", None) == torch.int64]
    assert integers == ["tokens_T", "positions_T", "sequence_T", "sample_ids_S", "ordinals_S"]


def test_tail_fills_the_pack_and_is_never_scored(stream):
    tails = set()
    for slices in epoch_of(stream, 1):
        batch = to_batch(stream.sources, slices, 1, OPTIONS)
        check_invariants(batch, len(slices.proteins))
        tails.add(OPTIONS.tokens_per_pack - int(slices.num_tokens.sum()))
    assert len(tails) > 2
    empty = to_batch(stream.sources, slices.take([]), 1, OPTIONS)
    check_invariants(empty, 0)


def test_only_canonical_residues_are_scored(tmp_path):
    with IndexedWriter(tmp_path / "p") as writer:
        writer.add(alphabet.encode("MXKBZTUO"))
    stream = PackStream([Corpus(IndexedProteins(tmp_path / "p"))], OPTIONS, seed=0)
    batch = to_batch(stream.sources, stream.window(0, 0)[0], 0, OPTIONS)
    assert alphabet.decode(batch.tokens_T[:10].numpy()) == "<cls>MXKBZTUO<eos>"
    assert batch.scored_T.nonzero()[:, 0].tolist() == [1, 3, 6]


def test_fewer_proteins_than_fill_a_pack(write_proteins):
    stream = PackStream([Corpus(IndexedProteins(write_proteins([3, 4])))], OPTIONS, seed=0)
    run = list(islice(stream.packs_from(Position()), 5))
    assert [epoch for _, epoch, _ in run] == [0, 1, 2, 3, 4]
    for slices, epoch, _ in run:
        assert sorted(slices.proteins) == [0, 1]
        check_invariants(to_batch(stream.sources, slices, epoch, OPTIONS), 2)


@pytest.mark.parametrize(("wrong", "named"), [(0, "<cls>"), (32, "<mask>"), (29, r"\."), (200, None)])
def test_a_byte_that_is_no_residue_is_named(write_proteins, wrong, named):
    prefix = write_proteins([20, 30, 25])
    content = bytearray(Path(f"{prefix}.bin").read_bytes())
    content[20 + 30 + 11] = wrong  # in a pack after protein 1, which is longer
    Path(f"{prefix}.bin").write_bytes(bytes(content))
    stream = PackStream([Corpus(IndexedProteins(prefix))], OPTIONS, seed=0)
    name = rf" \({named}\)" if named else ""
    message = rf"proteins\.bin: protein 2, position 12: id {wrong}{name} is no residue"
    with pytest.raises(ValueError, match=message):
        for slices in epoch_of(stream, 0):
            to_batch(stream.sources, slices, 0, OPTIONS)


def test_times_of_a_global_batch_are_stratified(write_proteins):
    """A run of packs holds a run of ordinals, so its times are spread far more evenly than by chance."""
    proteins = IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(900)]))
    options = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=128)
    path, stream = MixturePath(Polynomial(), False, 1e-3), PackStream([Corpus(proteins)], options, seed=1)
    run = [slices for slices, epoch, _ in islice(stream.packs_from(Position()), 240) if epoch == 0]
    assert len(run) == 240
    for first in range(0, 240, 60):  # 60 packs to a global batch; windows end inside of some
        batches = [to_batch([proteins], slices, 0, options) for slices in run[first : first + 60]]
        ordinals = torch.cat([batch.ordinals_S[batch.sample_ids_S >= 0] for batch in batches])
        assert torch.equal(ordinals, ordinals[0] + torch.arange(len(ordinals)))
        times = torch.cat([path.times(batch, Noise(1, 0))[batch.sample_ids_S >= 0] for batch in batches])
        even = (torch.arange(len(times)) + 0.5) / len(times) * (1 - 1e-3)
        assert len(times) > 120
        assert float((times.sort().values - even).abs().max()) * len(times) < 4  # by chance 0.87 sqrt(120) = 9.5


def test_positions_are_those_of_the_packs_after(stream):
    for (_, _, one), (_, _, other) in pairwise(islice(stream.packs_from(Position(1, 2, 1)), 30)):
        assert (other.epoch, other.window, other.pack) > (one.epoch, one.window, one.pack)
