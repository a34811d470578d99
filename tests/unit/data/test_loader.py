import threading
import time
from dataclasses import fields
from itertools import count, islice

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.data.loader import GlobalBatch, Prefetch, global_batches, validation_packs
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.proteins import alphabet

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=10)


@pytest.fixture
def stream(write_proteins) -> PackStream:
    return PackStream([Corpus(IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(47)])))], OPTIONS, seed=3)


def same(one: TokenBatch, other: TokenBatch) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


START = Position()


def batches_of(stream: PackStream, rank: int, num_ranks: int, position: Position = START) -> list[GlobalBatch]:
    return list(islice(global_batches(stream, position, 4, rank, num_ranks), 12))


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_global_batches_are_the_same_for_any_number_of_ranks(stream, num_ranks):
    packs = [to_batch(stream.sources, s, e, OPTIONS) for s, e, _ in islice(stream.packs_from(Position()), 48)]
    by_rank = [batches_of(stream, rank, num_ranks) for rank in range(num_ranks)]
    for step, of_step in enumerate(zip(*by_rank, strict=True)):
        expected = packs[4 * step : 4 * step + 4]
        shares = [batch.packs for batch in of_step]
        assert {len(share) for share in shares} == {4 // num_ranks}
        together = [pack for group in zip(*shares, strict=True) for pack in group]
        assert all(same(one, other) for one, other in zip(together, expected, strict=True))
        assert len({(b.num_proteins, b.num_tokens, b.sum_squared_lengths, b.after) for b in of_step}) == 1


def test_packs_are_pinned_by_the_thread_that_reads_them(stream, monkeypatch):
    """So that a GPU copies them without the training waiting, for the copy or for the pinning."""
    threads = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda x: threads.append(threading.current_thread().name) or x.clone()
    )
    with Prefetch(islice(global_batches(stream, START, 4, 0, 2), 3)) as ready:
        packs = [pack for batch in ready for pack in batch.packs]
    assert len(packs) == 6
    assert threads == ["prefetch"] * 6 * sum(isinstance(value, torch.Tensor) for value in vars(packs[0]).values())


def test_numbers_are_those_of_the_whole_batch_without_padding(stream):
    for batch in batches_of(stream, 0, 1):
        lengths = [
            n
            for pack in batch.packs
            for n, sample in zip(pack.lengths_S, pack.sample_ids_S, strict=True)
            if sample >= 0
        ]
        assert batch.num_proteins == len(lengths)
        assert batch.num_tokens == sum(int((pack.tokens_T != alphabet.PAD).sum()) for pack in batch.packs)
        assert batch.sum_squared_lengths == sum(n * n for n in lengths)


def test_goes_on_after_any_batch(stream):
    run = batches_of(stream, 1, 2)
    for number in (0, 3, 7):
        again = batches_of(stream, 1, 2, run[number].after)
        for found, expected in zip(again, run[number + 1 :], strict=False):
            assert found.after == expected.after
            assert all(map(same, found.packs, expected.packs))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_held_out_packs_are_a_fixed_sample_shared_evenly(write_proteins, num_ranks):
    proteins = IndexedProteins(write_proteins([5 + i % 20 for i in range(47)]))
    shares = [validation_packs(proteins, OPTIONS, 20, rank, num_ranks) for rank in range(num_ranks)]
    assert len({len(share) for share in shares}) == 1
    packs = [pack for share in shares for pack in share]
    samples = torch.cat([pack.sample_ids_S[pack.sample_ids_S >= 0] for pack in packs]).sort().values
    alone = validation_packs(proteins, OPTIONS, 20, 0, 1)
    expected = torch.cat([pack.sample_ids_S[pack.sample_ids_S >= 0] for pack in alone]).sort().values
    assert torch.equal(samples, expected)
    assert len(samples.unique()) == 20
    ordinals = torch.cat([pack.stream_index_S[pack.sample_ids_S >= 0] for pack in packs])
    assert ordinals.sort().values.tolist() == list(range(20))  # so that their times are stratified
    assert all(len(pack.tokens_T) == OPTIONS.tokens_per_pack for pack in packs)


def test_held_out_packs_of_fewer_proteins_than_asked_for(write_proteins):
    (pack,) = validation_packs(IndexedProteins(write_proteins([3, 4])), OPTIONS, 1000, 0, 1)
    assert sorted(pack.sample_ids_S.tolist()) == [-1, -1, 0, 1]
    assert int(pack.scored_T.sum()) == 7


@pytest.mark.parametrize(("sequences", "scored"), [(["XXXX", "B"], 0), (["XXXX", "B", "XM"], 1)])
@pytest.mark.parametrize("rank", [0, 1])
def test_held_out_proteins_without_a_canonical_residue_are_refused_by_every_process(tmp_path, sequences, scored, rank):
    with IndexedWriter(tmp_path / "p") as writer:
        for sequence in sequences:
            writer.add(alphabet.encode(sequence))
    proteins = IndexedProteins(tmp_path / "p")
    if scored:
        assert len(validation_packs(proteins, OPTIONS, 100, rank, 2)) == 1
        return
    with pytest.raises(ValueError, match=f"^{tmp_path}/p: nothing to score: no canonical residue in 2 proteins of it$"):
        validation_packs(proteins, OPTIONS, 100, rank, 2)


def prefetch_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("ahead", [1, 4])
def test_prefetch_keeps_the_order_and_ends(ahead):
    with Prefetch(range(100), ahead) as items:
        assert list(items) == list(range(100))
    assert prefetch_threads() == 0


def test_prefetch_works_ahead_but_not_further():
    made = []
    with Prefetch((made.append(i) or i for i in count()), ahead=3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert made == [0, 1, 2, 3, 4]  # one taken, three waiting, one in hand
    assert prefetch_threads() == 0


def test_prefetch_raises_here_what_went_wrong_there():
    def source():
        yield 1
        raise ValueError("protein 7: no residue")

    with Prefetch(source()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="protein 7"):
            next(items)
    assert prefetch_threads() == 0


def test_prefetch_ends_when_the_block_is_left_by_an_error():
    with pytest.raises(KeyError), Prefetch(count()) as items:
        next(items)
        raise KeyError
    assert prefetch_threads() == 0
