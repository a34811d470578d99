"""The comparison is fair: the same proteins for everyone, masked as each of them does it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.baselines import BASELINES, IGNORED, Job
from benchmarks.interleaved import Timing
from benchmarks.random_proteins import write_simulated
from benchmarks.training import REFERENCE, main, num_tokens, padding_shares, summary
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.proteins import alphabet


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("esm2_8m", write_simulated(tmp_path / "proteins"), 4096, 6, "fp32", "cpu")


def test_padded_batches_hold_the_proteins_of_the_packs(job: Job) -> None:
    batches = job.padded()
    assert len(batches) == len(job.packs) == 6
    assert max(len(inputs) for inputs, _ in batches) - min(len(inputs) for inputs, _ in batches) <= 1
    found = []
    for inputs, labels in batches:
        clean = torch.where(labels == IGNORED, inputs, labels)
        found += [ids[ids != alphabet.PAD].tolist() for ids in clean]
    assert sorted(found) == sorted(ids.tolist() for ids in job.proteins)
    assert all(ids[0] == alphabet.CLS for ids in found)


def test_masks_are_those_of_the_usual_collator(job: Job) -> None:
    inputs = torch.cat([inputs.flatten() for inputs, _ in job.padded()])
    labels = torch.cat([labels.flatten() for _, labels in job.padded()])
    chosen = labels != IGNORED
    residues = num_tokens(job) - sum(int((ids < alphabet.FIRST_CANONICAL).sum()) for ids in job.proteins)
    assert chosen.sum() / residues == pytest.approx(0.15, abs=0.01)
    assert (labels[chosen] >= alphabet.FIRST_CANONICAL).all()
    assert (inputs[chosen] == alphabet.MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (inputs[chosen] == labels[chosen]).float().mean() == pytest.approx(0.1, abs=0.03)


def test_packs_are_full_and_a_fair_sample(job: Job) -> None:
    padding = padding_shares(job)
    assert padding["ours"] == padding["plain PyTorch, packed"] < 0.03
    assert 0.4 < padding[REFERENCE] < 0.8
    proteins = IndexedProteins(job.prefix)
    everything, _ = proteins.checked(np.arange(len(proteins)))
    mean = sum(map(len, job.proteins)) / len(job.proteins)
    assert mean == pytest.approx(everything.mean() + 2, abs=5 * everything.std() / len(job.proteins) ** 0.5)


def test_figures_are_medians_of_rounds(job: Job) -> None:
    timings = {name: Timing([1.0, 8.0, 2.0], 2**30) for name in BASELINES}
    timings[REFERENCE] = Timing([3.0, 16.0, 10.0], 2**30)
    figures = summary("ours", timings, job, peak=1e12, padding=0.0)
    assert figures.tokens_per_second == num_tokens(job) / 2
    assert (figures.slowest_round, figures.fastest_round) == (num_tokens(job) / 8, num_tokens(job))
    assert figures.ratio == 3.0  # of 3, 2 and 5
    assert figures.mfu == pytest.approx(5.2e7 * num_tokens(job) / 2 / 1e12, rel=0.15)  # 52 MFLOP per token of ESM-2 8M
    assert figures.peak_gib == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, "--device tpu: allowed are cpu, cuda"),
        ({"device": "cpu", "size": "esm2_8b"}, "did you mean esm2_8m"),
        ({"device": "cpu", "precision": "fp16"}, "--precision fp16: allowed are bf16, fp32"),
    ],
)
def test_refuses_what_it_cannot_measure(
    arguments: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match=message):
        main(**arguments)
