"""The baselines deliver the same proteins, and the synthetic corpus is what the loader takes it for."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import loader_baselines as loader_contenders
from benchmarks.interleaved import Timing
from benchmarks.loader import Job, main, start, summary, write_large
from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.stream import PackStream
from d2plm_megatron.proteins import alphabet


@pytest.fixture
def job(write_proteins: Callable[..., Path]) -> Job:
    prefix = write_proteins([10 + 37 * i % 300 for i in range(60)])
    return Job(str(prefix), Data(train=str(prefix), max_length_residues=200, tokens_per_pack=1024))


@pytest.mark.parametrize("name", list(loader_contenders.BASELINES)[1:])
def test_padded_batches_hold_all_proteins(job: Job, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = []
    proteins = IndexedProteins(job.prefix)

    class Watched(torch.utils.data.DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                delivered.append(batch)
                yield batch

    monkeypatch.setattr(loader_contenders, "DataLoader", Watched)
    with loader_contenders.BASELINES[name](job) as step:
        step(0)
    found = [row[row != alphabet.PAD].tolist() for batch in delivered for row in batch["input_ids"]]
    expected = [[alphabet.CLS, *proteins[i][:200].tolist(), alphabet.EOS] for i in range(60)]
    assert sorted(found) == sorted(expected)
    assert sum(int(batch["attention_mask"].sum()) for batch in delivered) == job.num_tokens
    assert {len(batch["input_ids"]) for batch in delivered[:-1]} == {job.batch_size}


def test_ours_delivers_an_epoch_a_round(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = []

    def watched(*arguments):
        for batch in global_batches(*arguments):
            delivered.append(batch.num_tokens)
            yield batch

    global_batches = loader_contenders.global_batches
    monkeypatch.setattr(loader_contenders, "global_batches", watched)
    with loader_contenders.BASELINES["ours"](job) as step:
        for number in range(3):
            step(number)
            assert 0 <= sum(delivered) - (number + 1) * job.num_tokens < job.options.tokens_per_pack


def test_figures_are_medians_of_rounds_and_ratios_to_ours(job: Job) -> None:
    timings = {name: Timing([2.0, 16.0, 10.0], 2**30) for name in loader_contenders.BASELINES}
    timings["ours"] = Timing([1.0, 2.0, 4.0], 2**29)
    ours, theirs, _ = (summary(name, timings, job) for name in loader_contenders.BASELINES)
    assert (ours.ratio, theirs.ratio) == (1.0, 2.5)  # of 2, 8 and 2.5
    assert ours.tokens_per_second == job.num_tokens / 2
    assert 0 < ours.padding < 0.2 < theirs.padding < 0.8
    assert (ours.peak_gib, theirs.peak_gib) == (0.5, 1.0)


def test_start_of_a_synthetic_corpus(tmp_path: Path) -> None:
    measured = start(tmp_path / "large", 100_000, Data(tokens_per_pack=2048))
    assert measured.num_proteins == 100_000
    assert measured.begin_s > 0 and measured.resume_s > 0
    write_large(tmp_path / "small", 300)
    lengths, _ = IndexedProteins(tmp_path / "small").checked(np.arange(300))
    assert lengths.min() >= 12 and lengths.max() > 1022
    stream = PackStream.open(Data(train=str(tmp_path / "large")), seed=0)
    drawn = np.concatenate([pack.num_residues for window in (0, 5) for pack in stream.window(1, window)])
    lengths, _ = IndexedProteins(tmp_path / "large").checked(np.arange(100_000))
    assert drawn.mean() == pytest.approx(np.minimum(lengths, 1022).mean(), rel=0.05)


def test_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else found(name))
    with pytest.raises(ValueError, match=r"datasets is missing: pip install 'd2plm-megatron\[dev\]'"):
        main()
