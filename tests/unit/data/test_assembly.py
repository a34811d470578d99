import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.data.slices import Slices, crop, joined
from d2plm_megatron.data.stream import PackStream
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

OPTIONS = Data(max_length_residues=30, tokens_per_pack=64, window_proteins=10)


@pytest.fixture
def stream(write_proteins) -> PackStream:
    return PackStream([Corpus(IndexedProteins(write_proteins([1 + 7 * i % 50 for i in range(47)])))], OPTIONS, seed=3)


def epoch_of(stream: PackStream, epoch: int) -> list[Slices]:
    assert stream.num_windows
    return [pack for window in range(stream.num_windows) for pack in stream.window(epoch, window)]


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
        assert batch.stream_index_S.tolist()[: len(slices.proteins)] == slices.stream_index.tolist()
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
    assert len(batch.sample_ids_S) == len(batch.stream_index_S) == len(lengths)
    assert (batch.sample_ids_S[num_real:] == -1).all()
    integers = [f.name for f in fields(batch) if getattr(getattr(batch, f.name), "dtype", None) == torch.int64]
    assert integers == ["tokens_T", "positions_T", "sequence_T", "sample_ids_S", "stream_index_S"]


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


def test_chunks_of_a_protein_have_end_tokens_at_its_true_ends_only(tmp_path):
    with IndexedWriter(tmp_path / "p") as writer:
        for letters, continues in (("MKT", False), ("LAG", False), ("VS", True), ("ER", True), ("W", False)):
            writer.add(alphabet.encode(letters), continues)
    proteins = IndexedProteins(tmp_path / "p")
    assert (len(proteins), proteins.num_documents) == (5, 3)
    slices = crop(proteins, torch.tensor([4, 3, 2, 1, 0, 2]), OPTIONS, KeyedRng(0, 0))
    batch = to_batch([proteins], slices, 0, OPTIONS)
    parts = [alphabet.decode(part.numpy()) for part in batch.tokens_T.split(batch.lengths_S)][:6]
    assert parts == ["<cls>W<eos>", "ER<eos>", "VS", "<cls>LAG", "<cls>MKT<eos>", "VS"]


def test_a_crop_of_a_chunk_has_an_end_token_only_where_it_reaches_a_true_end(tmp_path):
    with IndexedWriter(tmp_path / "p") as writer:
        for continues in (False, True, True):
            writer.add(np.full(35, 5, dtype=np.uint8), continues)
    proteins = IndexedProteins(tmp_path / "p")
    seen = set()
    for epoch in range(60):
        slices = crop(proteins, torch.arange(3), OPTIONS, KeyedRng(0, epoch))
        assert np.array_equal(slices.has_begin, (slices.starts == 0) & (slices.proteins == 0))
        assert np.array_equal(slices.has_end, (slices.starts == 5) & (slices.proteins == 2))
        seen |= set(zip(slices.has_begin.tolist(), slices.has_end.tolist(), strict=True))
    assert seen == {(False, False), (True, False), (False, True)}


def test_reads_every_part_from_its_own_corpus(write_proteins):
    sources = [IndexedProteins(write_proteins([9, 4, 6], seed, f"corpus{seed}")) for seed in range(2)]
    parts = [crop(source, torch.tensor([2, 0]), OPTIONS, KeyedRng(0, 0)) for source in sources]
    parts[1].corpora[:] = 1
    slices = joined(parts).take([2, 1, 3, 0])
    batch = to_batch(sources, slices, 0, OPTIONS)
    found = [part[1:-1].tolist() for part in batch.tokens_T.split(batch.lengths_S)[:4]]
    assert found == [sources[1][2].tolist(), sources[0][0].tolist(), sources[1][0].tolist(), sources[0][2].tolist()]


def test_a_file_that_shrinks_under_a_run_is_an_error_and_not_the_end_of_the_process(stream, tmp_path):
    """Touching memory that is mapped to what is no longer there would end the process with SIGBUS."""
    pack, *_ = stream.window(0, 0)
    to_batch(stream.sources, pack, 0, OPTIONS)
    size = (tmp_path / "proteins.bin").stat().st_size
    os.truncate(tmp_path / "proteins.bin", size - 1)
    with pytest.raises(ValueError, match=rf"proteins\.bin has shrunk from {size:,} to {size - 1:,} bytes"):
        to_batch(stream.sources, pack, 0, OPTIONS)


def test_a_file_that_is_replaced_under_a_run_is_read_to_the_end(stream, tmp_path):
    """Converting the data again makes another file; the run holds on to the one that it opened."""
    pack, *_ = stream.window(0, 0)
    before = to_batch(stream.sources, pack, 0, OPTIONS)
    with IndexedWriter(tmp_path / "proteins") as writer:
        writer.add(alphabet.encode("MKT"))
    assert torch.equal(to_batch(stream.sources, pack, 0, OPTIONS).tokens_T, before.tokens_T)
